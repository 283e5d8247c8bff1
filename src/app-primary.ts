import { randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type { App } from './app.ts'
import { listenOptions, openDebugListener } from './app-listeners.ts'
import { openParts } from './app-parts.ts'
import { createPasswordVerifier } from './auth/password-verifier.ts'
import type { Config } from './config/schema.ts'
import { createHealth } from './http/local.ts'
import type { ProcessLog } from './observability/log.ts'
import type { Metrics, MetricsSnapshot } from './observability/metrics.ts'
import { createMetricsLedger, type MetricsLedger } from './observability/metrics-ledger.ts'
import { clearAddress } from './server/listen.ts'
import { createForker } from './workers/fork.ts'
import { type Supervisor, startSupervisor } from './workers/supervisor.ts'

/** A worker that is too busy to answer counts as it last did. */
const snapshotMs = 2_000
/** What a worker may need beyond `http.draintimeout` to end. */
const endMs = 5_000

type PrimaryOptions = ProcessLog & {
  readonly workers: number
  readonly metrics: Metrics
}

/**
 * Starts to serve with several processes: clients are the workers'; what must be done once is done
 * here: reading the configuration, passwords, upkeep of the store, the debug server, the log.
 * @throws StartupError with every problem
 */
export async function startPrimary(
  config: Config,
  { workers, log, writeLines, metrics }: PrimaryOptions,
): Promise<App> {
  await using opened = new AsyncDisposableStack()
  const verifier = opened.use(createPasswordVerifier({ log, metrics }))
  const { authenticator, backend } = await openParts(config, { log, verifier, opened })
  // It was opened to be checked, and would go on to watch its file.
  await authenticator[Symbol.asyncDispose]()
  await clearAddress(listenOptions(config.http.addr))
  const supervisor = await startSupervisor({
    fork: createForker({
      writeLines,
      handlers: { verify: verifier.verify, failed: verifier.failed },
    }),
    order: { config, workers, ticketSecret: randomBytes(32) },
    log,
    onLost: metrics.observeWorkerExit,
  })
  opened.defer(supervisor.kill)

  const state = { draining: false }
  const probe = async (): Promise<void> => {
    if (supervisor.serving().length === 0) throw new Error('no worker process serves')
    await backend.backend.probe()
  }
  const health = createHealth({ probe }, () => state.draining)
  const ledger: WorkerLedger = createMetricsLedger()
  const snapshots = async (): Promise<MetricsSnapshot[]> => [
    await metrics.snapshot(),
    ...(await gatherSnapshots(supervisor, ledger)),
  ]
  const debug = await openDebugListener(config, { log, health, snapshots })
  opened.use(backend.startUpkeep())
  const resources = opened.move()

  return {
    url: supervisor.url,
    async stop() {
      state.draining = true
      await supervisor.stop(config.http.draintimeout + endMs)
      await debug?.drain(0)
      await resources.disposeAsync()
    },
    kill: supervisor.kill,
  }
}

type WorkerLedger = MetricsLedger<ReturnType<Supervisor['serving']>[number]>

async function gatherSnapshots(
  supervisor: Supervisor,
  ledger: WorkerLedger,
): Promise<readonly MetricsSnapshot[]> {
  const asked = supervisor.serving().map(async (worker) => {
    const patience = new AbortController()
    const tooLong = delay(snapshotMs, undefined, { signal: patience.signal })
    const asking = worker.ask('snapshot').finally(() => patience.abort())
    const snapshot = await Promise.race([asking, tooLong]).catch(() => undefined)
    if (snapshot !== undefined) ledger.record(worker, snapshot)
  })
  await Promise.all(asked)
  return await ledger.snapshots(supervisor.serving())
}

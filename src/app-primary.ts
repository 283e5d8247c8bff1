import { randomBytes } from 'node:crypto'
import type { App } from './app.ts'
import { listenOptions, openDebugListener } from './app-listeners.ts'
import { openParts } from './app-parts.ts'
import { createPasswordVerifier } from './auth/password-verifier.ts'
import type { Config } from './config/schema.ts'
import { createHealth } from './http/local.ts'
import type { ProcessLog } from './observability/log.ts'
import type { Metrics, MetricsSnapshot } from './observability/metrics.ts'
import { affordableConnections } from './server/file-limit.ts'
import { clearAddress } from './server/listen.ts'
import { createForker } from './workers/fork.ts'
import { startSupervisor } from './workers/supervisor.ts'
import { createWorkerMetrics } from './workers/worker-metrics.ts'

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
  // All that workers do not take at once waits here.
  await affordableConnections(config.http.maxconnections, log)
  await clearAddress(listenOptions(config.http.addr))
  const supervisor = await startSupervisor({
    fork: createForker({
      writeLines,
      handlers: { verify: verifier.verify },
    }),
    order: { config, workers, ticketSecret: randomBytes(32) },
    log,
    onLost: metrics.observeWorkerExit,
  })
  opened.defer(supervisor.kill)

  const state = { draining: false }
  const probe = async (): Promise<void> => {
    if (!supervisor.isServing()) throw new Error('no worker process serves')
    await backend.backend.probe()
  }
  const health = createHealth({ probe }, () => state.draining)
  const workerMetrics = createWorkerMetrics(supervisor.workers)
  const snapshots = async (): Promise<MetricsSnapshot[]> => [
    await metrics.snapshot(),
    ...(await workerMetrics()),
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

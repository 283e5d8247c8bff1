import cluster from 'node:cluster'
import type { Logger } from 'pino'
import { exit, stopOnFault } from './app-exit.ts'
import { openServer } from './app-listeners.ts'
import { openParts } from './app-parts.ts'
import type { PasswordVerifier } from './auth/password-verifier.ts'
import type { Config } from './config/schema.ts'
import { openWorkerLog } from './observability/log.ts'
import { createMetrics, type Metrics } from './observability/metrics.ts'
import { openChannel } from './workers/channel.ts'
import { processPort } from './workers/process-port.ts'
import type { PrimaryHandlers, StartOrder, WorkerHandlers } from './workers/protocol.ts'
import { createRemoteVerifier } from './workers/remote-verifier.ts'

/** Makes this process, a worker, do what its parent says. */
export function followPrimary(): void {
  const metrics = createMetrics()
  let end = async (code: number): Promise<void> => process.exit(code)

  const start = async ({ config, ...order }: StartOrder): Promise<string> => {
    const fields = { ...config.log.fields, worker: cluster.worker?.id }
    const log = openWorkerLog({ ...config.log, fields })
    const verifier = createRemoteVerifier(primary)
    const served = await serve(config, { ...order, log, metrics, verifier })
    stopOnFault(log, () => {
      primary.tell('leaving')
      return served.stop()
    })
    end = async (code) => {
      await served.stop()
      await exit(log, code)
    }
    return served.url
  }
  const handlers: WorkerHandlers = {
    start,
    stop: () => void end(0),
    snapshot: metrics.snapshot,
    ping() {},
  }
  const primary = openChannel<PrimaryHandlers>(processPort(process), handlers)
  drainWithoutPrimary(() => void end(1))
}

type Surroundings = Pick<StartOrder, 'ticketSecret' | 'workers'> & {
  readonly log: Logger
  readonly metrics: Metrics
  readonly verifier: PasswordVerifier
}

type Served = { readonly url: string; stop(): Promise<void> }

async function serve(
  config: Config,
  { ticketSecret, workers, log, metrics, verifier }: Surroundings,
): Promise<Served> {
  await using opened = new AsyncDisposableStack()
  // The primary has read the same files, and has said what is wrong with them.
  log.level = 'error'
  const parts = await openParts(config, { log, verifier, opened })
  log.level = config.log.level
  const maxConnections = shareOf(config.http.maxconnections, workers)
  const options = { log, metrics, maxConnections, ticketSecret, opened }
  const server = await openServer(config, parts, options)
  const resources = opened.move()
  return {
    url: server.url,
    async stop() {
      await server.drain(config.http.draintimeout)
      await resources.disposeAsync()
    },
  }
}

/** Twice what an even division gives: connections come in bursts, and stay for long with whom they met. */
function shareOf(maxConnections: number, workers: number): number {
  return Math.min(maxConnections, Math.ceil((2 * maxConnections) / workers))
}

/** Nobody listens for new connections any more when the primary is gone, but requests may finish. */
function drainWithoutPrimary(drain: () => void): void {
  // Else Node ends the process in this case.
  if (cluster.worker !== undefined) cluster.worker.exitedAfterDisconnect = true
  process.once('disconnect', drain)
}

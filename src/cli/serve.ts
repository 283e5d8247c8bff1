import { availableParallelism } from 'node:os'
import type { Logger } from 'pino'
import { type App, startApp } from '../app.ts'
import { exit, stopOnFault } from '../app-exit.ts'
import { startPrimary } from '../app-primary.ts'
import type { Config } from '../config/schema.ts'
import { openLog } from '../observability/log.ts'
import { createMetrics } from '../observability/metrics.ts'

/** Exit code of a start that the operator must mend first; sysexits EX_CONFIG. */
export const configExitCode = 78
/** More would each remember and watch the same, and two keep a disk or a network busy. */
const mostByDefault = 4

/**
 * Serves until SIGTERM or SIGINT, then drains; a second signal ends it at once. Resolves when
 * everything is closed. `onListening` is called as soon as clients can connect.
 */
export async function serve(
  config: Config,
  warnings: readonly string[],
  onListening?: () => void,
): Promise<void> {
  const metrics = createMetrics()
  const processLog = openLog(config.log)
  const { log } = processLog
  for (const warning of warnings) log.warn(warning)
  // Before anybody can know that we are there.
  ignoreReloadSignals(log)
  const stopping = nextSignal()
  const workers = countWorkers(config)
  const start = workers === 1 ? startApp : startPrimary
  const starting = start(config, { ...processLog, metrics, workers })
  const app = await Promise.race([starting, stopping.then(() => undefined)])
  if (app === undefined) return await exit(log, 0)
  log.info({ url: app.url, ...servedFrom(config), workers }, 'listening')
  onListening?.()
  stopOnFault(log, app.stop)
  const signal = await stopping
  log.info(
    { signal, drainTimeoutMs: config.http.draintimeout },
    'stopping: requests in flight may finish',
  )
  await drain(app, log)
}

function countWorkers({ workers }: Config): number {
  return workers === 'auto' ? Math.min(mostByDefault, availableParallelism()) : workers
}

function servedFrom({ upstream, storage }: Config): Record<string, string> {
  if (upstream !== undefined) return { upstream: upstream.url }
  return { storage: storage.filesystem.rootdirectory }
}

async function drain(app: App, log: Logger): Promise<void> {
  const again = nextSignal().then(() => 'again' as const)
  const outcome = await Promise.race([app.stop().then(() => 'drained' as const), again])
  if (outcome === 'again') {
    log.warn('second signal: stopping at once')
    app.kill()
  } else log.info('stopped')
  // Signal handlers and pooled sockets of a forced stop would keep the process.
  await exit(log, outcome === 'again' ? 1 : 0)
}

/**
 * Signals that mean "reload" elsewhere change nothing here: files are watched. Unhandled, SIGHUP would
 * end the process without a drain, and SIGUSR1 open Node's inspector to every local user.
 */
function ignoreReloadSignals(log: Logger): void {
  for (const signal of ['SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const) {
    process.on(signal, () => {
      log.info(
        { signal },
        'nothing to do: certificates and users are reloaded when their files change',
      )
    })
  }
}

function nextSignal(): Promise<NodeJS.Signals> {
  const { promise, resolve } = Promise.withResolvers<NodeJS.Signals>()
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, resolve)
  return promise
}

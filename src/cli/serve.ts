import type { Logger } from 'pino'
import { type App, startApp } from '../app.ts'
import type { Config } from '../config/schema.ts'
import { createLog, flushLog } from '../observability/log.ts'

/** Exit code of a start that the operator must mend first; sysexits EX_CONFIG. */
export const configExitCode = 78
/** Time that transfers get to finish after a fault of ours. */
const faultDrainMs = 10_000

/**
 * Serves until SIGTERM or SIGINT, then drains; a second signal ends it at once. Resolves when
 * everything is closed. `onListening` is called as soon as clients can connect.
 */
export async function serve(
  config: Config,
  warnings: readonly string[],
  onListening?: () => void,
): Promise<void> {
  const log = createLog(config.log)
  for (const warning of warnings) log.warn(warning)
  // Before anybody can know that we are there.
  ignoreReloadSignals(log)
  const stopping = nextSignal()
  const app = await startApp(config, log)
  log.info({ url: app.url, ...servedFrom(config) }, 'listening')
  onListening?.()
  stopOnFault(app, log)
  const signal = await stopping
  log.info(
    { signal, drainTimeoutMs: config.http.draintimeout },
    'stopping: requests in flight may finish',
  )
  await drain(app, log)
}

function servedFrom({ upstream, storage }: Config): Record<string, string> {
  if (upstream !== undefined) return { upstream: upstream.url }
  return { storage: storage.filesystem.rootdirectory }
}

async function drain(app: App, log: Logger): Promise<void> {
  const again = nextSignal().then(() => 'again' as const)
  const outcome = await Promise.race([app.stop().then(() => 'drained' as const), again])
  if (outcome === 'again') log.warn('second signal: stopping at once')
  else log.info('stopped')
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

/** A fault that nobody foresaw leaves unknown state behind: no new work, a short drain, and out. */
function stopOnFault(app: App, log: Logger): void {
  process.once('uncaughtException', (error) => {
    log.error({ err: error }, 'unforeseen fault: stopping')
    setTimeout(() => process.exit(1), faultDrainMs).unref()
    const end = (): void => void exit(log, 1)
    void app.stop().then(end, end)
  })
}

async function exit(log: Logger, code: number): Promise<void> {
  await flushLog(log)
  process.exit(code)
}

function nextSignal(): Promise<NodeJS.Signals> {
  const { promise, resolve } = Promise.withResolvers<NodeJS.Signals>()
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, resolve)
  return promise
}

import { randomBytes } from 'node:crypto'
import type { Logger } from 'pino'
import { openDebugListener, openServer } from './app-listeners.ts'
import { openParts } from './app-parts.ts'
import { createPasswordVerifier } from './auth/password-verifier.ts'
import type { Config } from './config/schema.ts'
import type { Metrics } from './observability/metrics.ts'

export type App = {
  /** Where it listens, e.g. `https://0.0.0.0:443`. */
  readonly url: string
  /** Refuses new connections, lets requests in flight finish, closes everything. */
  stop(): Promise<void>
  /** Ends at once what other processes there are of it. */
  kill(): void
}

/**
 * Builds all parts from the configuration and starts to serve, in this process alone. Nothing listens
 * before every file that the configuration names has been read and understood.
 * @throws StartupError with every problem
 */
export async function startApp(
  config: Config,
  { log, metrics }: { readonly log: Logger; readonly metrics: Metrics },
): Promise<App> {
  await using opened = new AsyncDisposableStack()
  const verifier = opened.use(createPasswordVerifier({ log, metrics }))
  const parts = await openParts(config, { log, verifier, opened })
  const server = await openServer(config, parts, {
    log,
    metrics,
    maxConnections: config.http.maxconnections,
    ticketSecret: randomBytes(32),
    opened,
  })
  const debug = await openDebugListener(config, {
    log,
    health: server.health,
    snapshots: async () => [await metrics.snapshot()],
  }).catch(async (error: unknown) => {
    await server.drain(0)
    throw error
  })
  opened.use(parts.backend.startUpkeep())
  const resources = opened.move()

  return {
    url: server.url,
    async stop() {
      await server.drain(config.http.draintimeout)
      await debug?.drain(0)
      await resources.disposeAsync()
    },
    kill() {},
  }
}

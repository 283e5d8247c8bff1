import type { ListenOptions } from 'node:net'
import type { Logger } from 'pino'
import { openStore } from './app-store.ts'
import { type OpenBackend, openUpstream } from './app-upstream.ts'
import { type Authenticator, createAnonymousAuthenticator } from './auth/authenticator.ts'
import { openHtpasswdAuthenticator } from './auth/htpasswd.ts'
import type { Config } from './config/schema.ts'
import { createCors } from './http/cors.ts'
import { createHealth, createLocalHandler, type Health } from './http/local.ts'
import { createOriginReader } from './http/origin.ts'
import { type Backend, createPipeline } from './http/pipeline.ts'
import { gatherProblems } from './lib/startup-error.ts'
import { type Listener, openListener } from './server/listener.ts'
import {
  clientCertificateProblem,
  loadTlsServerOptions,
  type TlsServerMaterial,
  watchTlsServerOptions,
} from './tls/server-options.ts'

export type App = {
  /** Where it listens, e.g. `https://0.0.0.0:443`. */
  readonly url: string
  /** Refuses new connections, lets requests in flight finish, closes everything. */
  stop(): Promise<void>
}

/**
 * Builds all parts from the configuration and starts to serve. Nothing listens before every file that
 * the configuration names has been read and understood.
 * @throws StartupError with every problem
 */
export async function startApp(config: Config, log: Logger): Promise<App> {
  await using opened = new AsyncDisposableStack()
  const parts = await openParts(config, log, opened)
  const state = { draining: false }
  const health = createHealth(parts.backend, () => state.draining)
  const listener = await openMainListener(config, parts, { health, state, log })
  opened.use(watchCertificate(config, parts.tls, listener, log))
  const debug = await openDebugListener(config, health, log).catch(async (error: unknown) => {
    await listener.drain(0)
    throw error
  })
  opened.use(parts.startUpkeep())
  const resources = opened.move()

  return {
    url: listener.url,
    async stop() {
      state.draining = true
      const cutOff = await listener.drain(config.http.draintimeout)
      if (cutOff > 0)
        log.warn({ connections: cutOff }, 'connections cut off at the end of the drain time')
      await debug?.drain(0)
      await resources.disposeAsync()
    },
  }
}

/** Reads every file that the configuration names, as a start would. @throws StartupError */
export async function checkApp(config: Config, log: Logger): Promise<void> {
  await using opened = new AsyncDisposableStack()
  await openParts(config, log, opened)
}

type Parts = {
  readonly tls: TlsServerMaterial | undefined
  readonly authenticator: Authenticator
  readonly backend: Backend
  readonly startUpkeep: OpenBackend['startUpkeep']
}

async function openParts(
  config: Config,
  log: Logger,
  opened: AsyncDisposableStack,
): Promise<Parts> {
  const { http } = config
  const openBackend = config.upstream === undefined ? openStore : openUpstream
  const [tls, authenticator, { backend, startUpkeep }] = await gatherProblems([
    http.tls === undefined ? Promise.resolve(undefined) : loadTlsServerOptions(http.tls),
    openAuthenticator(config, log).then((value) => opened.use(value)),
    openBackend(config, log).then((value) => opened.use(value)),
  ])
  for (const warning of tls?.warnings ?? []) log.warn(warning)
  return { tls, authenticator, backend, startUpkeep }
}

async function openAuthenticator({ auth }: Config, log: Logger): Promise<Authenticator> {
  if (auth.htpasswd === undefined) return createAnonymousAuthenticator()
  return await openHtpasswdAuthenticator({ ...auth.htpasswd, log })
}

type Wiring = {
  readonly health: Health
  readonly state: { draining: boolean }
  readonly log: Logger
}

function openMainListener(
  { http, auth, upstream, cors, log: logging }: Config,
  { tls, authenticator, backend }: Parts,
  { health, state, log }: Wiring,
): Promise<Listener> {
  const passesCredentials = auth.htpasswd === undefined && upstream?.authorization === 'pass'
  const onRequest = createPipeline({
    readOrigin: createOriginReader({
      host: http.host,
      hosts: http.hosts,
      trustedProxies: http.trustedproxies,
    }),
    cors: createCors(cors),
    authenticator,
    backend,
    health,
    headers: Object.entries(http.headers).flatMap(([name, values]) =>
      values.flatMap((v) => [name, v]),
    ),
    tokenPaths: passesCredentials ? upstream.tokenpaths : [],
    maxBodyBytes: http.maxbodysize,
    isDraining: () => state.draining,
    log,
    accessLog: !logging.accesslog.disabled,
  })
  const clientAuth =
    http.tls !== undefined && http.tls.clientcas.length > 0 ? http.tls.clientauth : undefined
  return openListener({
    listen: listenOptions(http.addr),
    tls: tls?.options,
    refusePeer: (socket) => clientAuth && clientCertificateProblem(socket, clientAuth),
    timeouts: http.timeouts,
    maxConnections: http.maxconnections,
    onRequest,
    log,
  })
}

async function openDebugListener(
  { http }: Config,
  health: Health,
  log: Logger,
): Promise<Listener | undefined> {
  if (http.debug === undefined) return undefined
  const listener = await openListener({
    listen: listenOptions(http.debug.addr),
    tls: undefined,
    refusePeer: () => undefined,
    timeouts: http.timeouts,
    maxConnections: http.maxconnections,
    onRequest: createLocalHandler(health),
    log,
  })
  log.info({ url: listener.url }, 'debug server listening')
  return listener
}

function watchCertificate(
  { http }: Config,
  material: TlsServerMaterial | undefined,
  listener: Listener,
  log: Logger,
): AsyncDisposable | undefined {
  if (http.tls === undefined || material === undefined) return undefined
  return watchTlsServerOptions(http.tls, {
    log,
    initial: material.files,
    onReload: listener.replaceCertificate,
  })
}

function listenOptions(address: Config['http']['addr']): ListenOptions {
  return 'path' in address ? { path: address.path } : { host: address.host, port: address.port }
}

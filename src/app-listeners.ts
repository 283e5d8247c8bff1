import type { ListenOptions } from 'node:net'
import type { Logger } from 'pino'
import type { Parts } from './app-parts.ts'
import type { Config } from './config/schema.ts'
import { createCors } from './http/cors.ts'
import { createHealth, createLocalHandler, type Health } from './http/local.ts'
import { createOriginReader } from './http/origin.ts'
import { createPipeline } from './http/pipeline.ts'
import { formatMetrics, type Metrics, type MetricsSnapshot } from './observability/metrics.ts'
import { type Listener, openListener } from './server/listener.ts'
import { clientCertificateProblem, watchTlsServerOptions } from './tls/server-options.ts'
import { openTicketKeys } from './tls/session-tickets.ts'

/** A listener for clients that can be stopped. */
export type Server = {
  readonly url: string
  readonly health: Health
  /** Refuses new connections and lets requests in flight finish, for at most `timeoutMs`. */
  drain(timeoutMs: number): Promise<void>
}

type ServerOptions = {
  readonly log: Logger
  readonly metrics: Metrics
  /** Connections that may be open at once. */
  readonly maxConnections: number
  /** From which the keys of TLS session tickets are derived. */
  readonly ticketSecret: Uint8Array
  /** Takes what has to be closed in the end. */
  readonly opened: AsyncDisposableStack
}

/** Listens for clients, and follows the certificate's files. @throws StartupError if it cannot */
export async function openServer(
  config: Config,
  parts: Parts,
  options: ServerOptions,
): Promise<Server> {
  const { log, metrics, opened } = options
  const state = { draining: false }
  const isDraining = (): boolean => state.draining
  const health = createHealth(parts.backend.backend, isDraining)
  const listener = await openMainListener(config, parts, { ...options, health, isDraining })
  metrics.readGauge('connections', listener.connections)
  opened.use(followCertificate(config, parts, { ...options, listener }))
  return {
    url: listener.url,
    health,
    async drain(timeoutMs) {
      state.draining = true
      const cutOff = await listener.drain(timeoutMs)
      if (cutOff > 0)
        log.warn({ connections: cutOff }, 'connections cut off at the end of the drain time')
    },
  }
}

type Wiring = ServerOptions & {
  readonly health: Health
  readonly isDraining: () => boolean
}

function openMainListener(
  { http, auth, upstream, cors, log: logging }: Config,
  { tls, authenticator, backend }: Parts,
  { health, isDraining, maxConnections, metrics, log }: Wiring,
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
    backend: backend.backend,
    health,
    headers: Object.entries(http.headers).flatMap(([name, values]) =>
      values.flatMap((v) => [name, v]),
    ),
    tokenPaths: passesCredentials ? upstream.tokenpaths : [],
    maxBodyBytes: http.maxbodysize,
    isDraining,
    log,
    accessLog: !logging.accesslog.disabled,
    metrics,
  })
  const clientAuth =
    http.tls !== undefined && http.tls.clientcas.length > 0 ? http.tls.clientauth : undefined
  return openListener({
    listen: listenOptions(http.addr),
    tls: tls?.options,
    refusePeer: (socket) => clientAuth && clientCertificateProblem(socket, clientAuth),
    timeouts: http.timeouts,
    maxConnections,
    onRequest,
    log,
  })
}

function followCertificate(
  { http }: Config,
  { tls: material }: Parts,
  { listener, ticketSecret: secret, log }: ServerOptions & { readonly listener: Listener },
): AsyncDisposable | undefined {
  if (http.tls === undefined || material === undefined) return undefined
  // Only now: a worker that listens is given the keys with which the first one ever did.
  const tickets = openTicketKeys({
    secret,
    files: material.files,
    use: listener.replaceTicketKeys,
  })
  const watch = watchTlsServerOptions(http.tls, {
    log,
    initial: material.files,
    onReload(options, _, files) {
      listener.replaceCertificate(options)
      tickets.follow(files)
    },
  })
  return {
    async [Symbol.asyncDispose]() {
      await watch[Symbol.asyncDispose]()
      tickets[Symbol.dispose]()
    },
  }
}

type DebugOptions = {
  readonly log: Logger
  readonly health: Health
  /** What has been counted, in all processes. */
  readonly snapshots: () => Promise<readonly MetricsSnapshot[]>
}

/** Listens at `http.debug.addr`, if there is one. @throws StartupError if it cannot */
export async function openDebugListener(
  { http }: Config,
  { log, health, snapshots }: DebugOptions,
): Promise<Listener | undefined> {
  if (http.debug === undefined) return undefined
  const { enabled, path } = http.debug.prometheus
  const metrics = { path, text: async () => formatMetrics(await snapshots()) }
  const listener = await openListener({
    listen: listenOptions(http.debug.addr),
    tls: undefined,
    refusePeer: () => undefined,
    timeouts: http.timeouts,
    maxConnections: http.maxconnections,
    onRequest: createLocalHandler(health, enabled ? metrics : undefined),
    log,
  })
  log.info({ url: listener.url }, 'debug server listening')
  return listener
}

/** What Node calls an address of ours. */
export function listenOptions(address: Config['http']['addr']): ListenOptions {
  return 'path' in address ? { path: address.path } : { host: address.host, port: address.port }
}

import http from 'node:http'
import https from 'node:https'
import type { ListenOptions, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import type { SecureContextOptions, TLSSocket, TlsOptions } from 'node:tls'
import type { Logger } from 'pino'
import { RegistryError } from '../lib/errors.ts'
import { type Connections, createConnections } from './connections.ts'
import { startsTls } from './first-byte.ts'
import { listen, urlOf } from './listen.ts'
import { formatRefusal, refusalOf } from './refusal.ts'

export type RequestHandler = (
  req: http.IncomingMessage,
  res: http.ServerResponse,
  expectsContinue?: boolean,
) => void

export type ListenerOptions = {
  readonly listen: ListenOptions
  readonly tls: TlsOptions | undefined
  /** Why a TLS peer is not let in, e.g. its certificate; undefined when it is. */
  readonly refusePeer: (socket: TLSSocket) => string | undefined
  readonly timeouts: { readonly headers: number; readonly keepalive: number }
  /** Connections that may be open at once; more are closed as they come. */
  readonly maxConnections: number
  readonly onRequest: RequestHandler
  readonly log: Logger
}

export type Listener = {
  /** Where it listens, e.g. `https://0.0.0.0:8443`, with the real port if 0 was asked for. */
  readonly url: string
  /** New handshakes use these from now on; connections that are open keep theirs. */
  replaceCertificate(options: SecureContextOptions): void
  /**
   * Stops taking connections, lets requests in flight finish for at most `timeoutMs`, then closes
   * what is left. Resolves to the number of connections that had to be cut off.
   */
  drain(timeoutMs: number): Promise<number>
}

/** `_state` and token lists make long heads; nginx takes 32 KiB by default too. */
const maxHeadBytes = 32 * 1024
/** A refused peer that does not take its answer is cut off after this. */
const refusalMs = 2000
/** At the end, connections on which nothing was asked yet may still begin for this long. */
const unusedGraceMs = 1000

/** Listens for HTTP/1.1, over TLS if there are options for it. @throws StartupError if it cannot */
export async function openListener(options: ListenerOptions): Promise<Listener> {
  const { log, tls } = options
  const connections = createConnections()
  const server = createServer(options)
  server.maxConnections = options.maxConnections
  answerRequests(server, connections, options)
  if (tls !== undefined) admitTlsPeers(server, connections, options)
  else server.on('connection', connections.add)
  await listen(server, options.listen)
  server.on('error', (error) => log.error({ err: error }, 'listener failed'))

  return {
    url: urlOf(server, tls === undefined ? 'http' : 'https'),
    replaceCertificate(context) {
      if (server instanceof https.Server) server.setSecureContext(context)
    },
    async drain(timeoutMs) {
      const closed = new Promise<void>((resolve) => void server.close(() => resolve()))
      const stop = new AbortController()
      const deadline = delay(timeoutMs, undefined, { signal: stop.signal }).catch(() => {})
      // Connections fall idle one by one as their last request ends.
      const sweep = setInterval(() => server.closeIdleConnections(), 200)
      const unused = setTimeout(connections.closeUnused, unusedGraceMs)
      await Promise.race([closed, deadline])
      stop.abort()
      clearInterval(sweep)
      clearTimeout(unused)
      const cutOff = connections.closeAll()
      await closed
      return cutOff
    },
  }
}

function createServer({ tls, timeouts }: ListenerOptions): http.Server | https.Server {
  const settings: http.ServerOptions = {
    maxHeaderSize: maxHeadBytes,
    headersTimeout: timeouts.headers,
    connectionsCheckingInterval: Math.min(timeouts.headers, 5000),
    // A body may take as long as it moves; `relay/exchange.ts` watches that it does.
    requestTimeout: 0,
    keepAliveTimeout: timeouts.keepalive,
    // Answered by the pipeline, in JSON.
    requireHostHeader: false,
    noDelay: true,
  }
  if (tls === undefined) return http.createServer(settings)
  return https.createServer({ ...settings, ...tls, handshakeTimeout: timeouts.headers })
}

/** Hands requests to `onRequest`, and answers what never becomes one. */
function answerRequests(
  server: http.Server,
  connections: Connections,
  { onRequest, log }: ListenerOptions,
): void {
  const answering = new WeakMap<Duplex, http.ServerResponse>()
  const begin = (req: http.IncomingMessage, res: http.ServerResponse, expects = false): void => {
    // A refused TLS peer's first request may have come along with the end of its handshake.
    if (req.socket.destroyed) return
    const end = connections.begin(req.socket)
    answering.set(req.socket, res)
    res.on('close', () => {
      answering.delete(req.socket)
      end()
    })
    onRequest(req, res, expects)
  }
  server.on('request', begin)
  server.on('checkContinue', (req, res) => begin(req, res, true))
  // Expectations other than 100-continue may be ignored; RFC 9110 section 10.1.1.
  server.on('checkExpectation', begin)
  server.on('clientError', (error, socket) => {
    refuse(refusalOf(error), socket, { answering: answering.get(socket), log })
  })
  server.on('connect', ({ method }, socket) => {
    refuse(new RegistryError('UNSUPPORTED', { method }), socket, { answering: undefined, log })
  })
  server.on('drop', (peer) => {
    log.warn({ client: peer?.remoteAddress }, 'too many connections: one was closed')
  })
}

/** Answers what never became a request, unless its connection is in the middle of an answer. */
function refuse(
  refusal: RegistryError | undefined,
  socket: Duplex,
  { answering, log }: { answering: http.ServerResponse | undefined; log: Logger },
): void {
  if (refusal === undefined || !socket.writable || answering?.headersSent === true) {
    socket.destroy()
    return
  }
  const client = 'remoteAddress' in socket ? socket.remoteAddress : undefined
  const { status, code, detail } = refusal
  log.info({ client, status, error: code, detail }, 'request refused')
  const timer = setTimeout(() => socket.destroy(), refusalMs)
  socket.on('error', () => {}).on('close', () => clearTimeout(timer))
  socket.end(formatRefusal(refusal), () => socket.destroy())
}

/**
 * Lets TLS peers in. The first byte of each connection is looked at, to tell a client that speaks plain
 * HTTP what is wrong; `refusePeer` judges those whose handshake is done, before they can ask anything.
 */
function admitTlsPeers(
  server: http.Server,
  connections: Connections,
  { timeouts, refusePeer, log }: ListenerOptions,
): void {
  const acceptors = server.listeners('connection')
  const admit = async (socket: Socket): Promise<void> => {
    const isTls = await startsTls(socket, timeouts.headers)
    if (isTls === false) refusePlainHttp(socket, log)
    if (isTls !== true) return
    connections.secure(socket)
    for (const acceptor of acceptors) acceptor.call(server, socket)
  }
  server.removeAllListeners('connection')
  server.on('connection', (socket: Socket) => {
    connections.add(socket)
    void admit(socket)
  })
  server.prependListener('secureConnection', (socket: TLSSocket) => {
    connections.add(socket)
    const reason = refusePeer(socket)
    if (reason === undefined) return
    log.warn({ client: socket.remoteAddress, reason }, 'client certificate refused')
    socket.destroy()
  })
  server.on('tlsClientError', (error, socket) => {
    log.debug({ client: socket.remoteAddress, reason: error.message }, 'TLS handshake failed')
  })
}

function refusePlainHttp(socket: Socket, log: Logger): void {
  const reason = 'this port speaks HTTPS, and the client sent plain HTTP: use https://'
  refuse(new RegistryError('REQUEST_INVALID', { reason }), socket, { answering: undefined, log })
}

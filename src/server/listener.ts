import http from 'node:http'
import https from 'node:https'
import type { ListenOptions, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import type { SecureContextOptions, TLSSocket, TlsOptions } from 'node:tls'
import type { Logger } from 'pino'
import { RegistryError } from '../lib/errors.ts'
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

/** Listens for HTTP/1.1, over TLS if there are options for it. @throws StartupError if it cannot */
export async function openListener(options: ListenerOptions): Promise<Listener> {
  const { log, tls } = options
  const server = createServer(options)
  const sockets = trackConnections(server, options)
  await listen(server, options.listen)
  const url = urlOf(server, tls === undefined ? 'http' : 'https')
  server.on('error', (error) => log.error({ err: error }, 'listener failed'))

  return {
    url,
    replaceCertificate(context) {
      if (server instanceof https.Server) server.setSecureContext(context)
    },
    async drain(timeoutMs) {
      const closed = new Promise<void>((resolve) => void server.close(() => resolve()))
      const stop = new AbortController()
      const deadline = delay(timeoutMs, undefined, { signal: stop.signal }).catch(() => {})
      // Connections fall idle one by one as their last request ends.
      const sweep = setInterval(() => server.closeIdleConnections(), 200)
      await Promise.race([closed, deadline])
      stop.abort()
      clearInterval(sweep)
      const cutOff = sockets.size
      for (const socket of sockets) socket.destroy()
      await closed
      return cutOff
    },
  }
}

function createServer({
  tls,
  timeouts,
  onRequest,
  refusePeer,
  log,
}: ListenerOptions): http.Server | https.Server {
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
  const server =
    tls === undefined
      ? http.createServer(settings)
      : https.createServer({ ...settings, ...tls, handshakeTimeout: timeouts.headers })
  server.timeout = 0
  const inFlight = new WeakMap<Duplex, http.ServerResponse>()
  const begin = (req: http.IncomingMessage, res: http.ServerResponse, expects = false): void => {
    inFlight.set(req.socket, res)
    res.on('close', () => inFlight.delete(req.socket))
    onRequest(req, res, expects)
  }
  server.on('request', begin)
  server.on('checkContinue', (req, res) => begin(req, res, true))
  // Expectations other than 100-continue may be ignored; RFC 9110 section 10.1.1.
  server.on('checkExpectation', begin)
  server.on('clientError', (error, socket) => {
    refuse(refusalOf(error), socket, { inFlight: inFlight.get(socket), log })
  })
  server.on('connect', ({ method }, socket) => {
    refuse(new RegistryError('UNSUPPORTED', { method }), socket, { inFlight: undefined, log })
  })
  server.on('tlsClientError', (error, socket) => {
    log.debug({ client: socket.remoteAddress, reason: error.message }, 'TLS handshake failed')
  })
  server.on('secureConnection', (socket: TLSSocket) => {
    const reason = refusePeer(socket)
    if (reason === undefined) return
    log.warn({ client: socket.remoteAddress, reason }, 'client certificate refused')
    socket.destroy()
  })
  return server
}

/** Answers what never became a request, unless its connection is in the middle of an answer. */
function refuse(
  refusal: RegistryError | undefined,
  socket: Duplex,
  { inFlight, log }: { inFlight: http.ServerResponse | undefined; log: Logger },
): void {
  if (refusal === undefined || !socket.writable || inFlight?.headersSent === true) {
    socket.destroy()
    return
  }
  const client = 'remoteAddress' in socket ? socket.remoteAddress : undefined
  const { status, code, detail } = refusal
  log.info({ client, status, error: code, detail }, 'request refused')
  socket.on('error', () => {})
  socket.end(formatRefusal(refusal), () => socket.destroy())
}

/**
 * Keeps the set of open connections, from before TLS on. A TLS port looks at the first byte of each,
 * to tell a client that speaks plain HTTP what is wrong.
 */
function trackConnections(
  server: http.Server,
  { tls, timeouts, log }: ListenerOptions,
): Set<Socket> {
  const sockets = new Set<Socket>()
  const acceptors = server.listeners('connection')
  const accept = (socket: Socket): void => {
    for (const acceptor of acceptors) acceptor.call(server, socket)
  }
  const acceptTls = async (socket: Socket): Promise<void> => {
    const isTls = await startsTls(socket, timeouts.headers)
    if (isTls === true) accept(socket)
    else if (isTls === false) refusePlainHttp(socket, log)
  }
  server.removeAllListeners('connection')
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    if (tls === undefined) accept(socket)
    else void acceptTls(socket)
  })
  return sockets
}

function refusePlainHttp(socket: Socket, log: Logger): void {
  const reason = 'this port speaks HTTPS, and the client sent plain HTTP: use https://'
  refuse(new RegistryError('REQUEST_INVALID', { reason }), socket, { inFlight: undefined, log })
}

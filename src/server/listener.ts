import { randomUUID } from 'node:crypto'
import http from 'node:http'
import https from 'node:https'
import net, { type ListenOptions } from 'node:net'
import type { Duplex } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { type SecureContextOptions, TLSSocket, type TlsOptions } from 'node:tls'
import type { Logger } from 'pino'
import type { RequestHandler } from '../http/pipeline.ts'
import { sendError } from '../http/reply.ts'
import { RegistryError } from '../lib/errors.ts'
import {
  type Connections,
  connectionBeneath,
  createConnections,
  type Unfinished,
} from './connections.ts'
import { affordableConnections } from './file-limit.ts'

import { listen, urlOf } from './listen.ts'
import { formatRefusal, refusalOf } from './refusal.ts'
import { ServerMessage } from './server-message.ts'

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
  /** Session tickets are made and understood with these 48 bytes from now on. */
  replaceTicketKeys(keys: Buffer): void
  /** How many connections are open. */
  connections(): number
  /**
   * Stops taking connections, lets requests in flight finish for at most `timeoutMs`, then closes
   * what is left. Resolves to the number of connections that had to be cut off.
   */
  drain(timeoutMs: number): Promise<number>
}

/** `_state` and token lists make long heads; nginx takes 32 KiB by default too. */
const maxHeadBytes = 32 * 1024
/** A client that is refused gets this long to take its answer. */
const refusalMs = 1000
/** At the end, connections on which nothing was asked yet may still begin for this long. */
const unusedGraceMs = 1000

/** Listens for HTTP/1.1, over TLS if there are options for it. @throws StartupError if it cannot */
export async function openListener(options: ListenerOptions): Promise<Listener> {
  const { log, tls } = options
  const connections = createConnections()
  const server = createServer(options)
  server.maxConnections = await affordableConnections(options.maxConnections, log)
  // A worker of a cluster would pass on what is one too many, and get it back, for as long as it is.
  Object.assign(server, { dropMaxConnection: true }) // @types/node does not have it yet
  const refusedPeers: RefusedPeers = new WeakMap()
  answerRequests(server, connections, { ...options, refusedPeers })
  if (tls !== undefined) admitTlsPeers(server, connections, { ...options, refusedPeers })
  else server.on('connection', connections.add)
  await listen(server, options.listen)
  server.on('error', (error) => log.error({ err: error }, 'listener failed'))

  return {
    url: urlOf(server, tls === undefined ? 'http' : 'https'),
    replaceCertificate(context) {
      if (server instanceof https.Server) server.setSecureContext(context)
    },
    replaceTicketKeys(keys) {
      if (server instanceof https.Server) server.setTicketKeys(keys)
    },
    connections: connections.count,
    async drain(timeoutMs) {
      // Not `server.close`, which begins by cutting off answers that Node has not flushed yet.
      const closed = new Promise<void>((resolve) => {
        net.Server.prototype.close.call(server, () => resolve())
      })
      const stop = new AbortController()
      const deadline = delay(timeoutMs, undefined, { signal: stop.signal }).catch(() => {})
      const graceEnd = performance.now() + unusedGraceMs
      const sweep = setInterval(() => {
        connections.closeIdle()
        if (performance.now() > graceEnd) connections.closeUnused()
      }, 100)
      connections.closeIdle()
      await Promise.race([closed, deadline])
      stop.abort()
      clearInterval(sweep)
      const cutOff = connections.closeAll()
      await closed
      return cutOff
    },
  }
}

function createServer({ tls, timeouts }: ListenerOptions): http.Server | https.Server {
  const settings: http.ServerOptions<typeof ServerMessage> = {
    IncomingMessage: ServerMessage,
    maxHeaderSize: maxHeadBytes,
    headersTimeout: timeouts.headers,
    connectionsCheckingInterval: Math.min(timeouts.headers, 5000),
    // A body may take as long as it moves; `relay/exchange.ts` watches that it does.
    requestTimeout: 0,
    keepAliveTimeout: timeouts.keepalive,
    // Answered by the pipeline, in JSON.
    requireHostHeader: false,
    noDelay: true,
    // TCP keep-alive: a client that vanished without a word is noticed.
    keepAlive: true,
  }
  if (tls === undefined) return http.createServer(settings)
  return https.createServer({ ...settings, ...tls, handshakeTimeout: timeouts.headers })
}

/** Hands requests to `onRequest`, and answers what never becomes one. */
function answerRequests(
  server: http.Server,
  connections: Connections,
  { onRequest, refusedPeers, log }: ListenerOptions & { refusedPeers: RefusedPeers },
): void {
  const begin = (req: http.IncomingMessage, res: http.ServerResponse, expects = false): void => {
    if (req.socket instanceof TLSSocket) keepParsing(req.socket)
    connections.ask({ req, res }, () => {
      const reason = refusedPeers.get(req.socket)
      if (reason === undefined) onRequest(req, res, expects)
      else denyPeer(req, res, { reason, log })
    })
  }
  server.on('request', begin)
  server.on('checkContinue', (req, res) => begin(req, res, true))
  // Expectations other than 100-continue may be ignored; RFC 9110 section 10.1.1.
  server.on('checkExpectation', begin)
  server.on('clientError', (error, socket) => {
    refuse(refusalOf(error), socket, { current: connections.current(socket), log })
  })
  server.on('connect', ({ method }, socket) => {
    const refusal = new RegistryError('UNSUPPORTED', { method })
    refuse(refusal, socket, { current: connections.current(socket), log })
  })
  logDrops(server, log)
}

/**
 * Node stops reading when a request comes behind an answer that its client has not taken in full, and stops
 * its parser as well; the parser then fails on the records that TLS had decrypted already, and the
 * connection with it. Nothing public prevents that, so it is undone before the parser is told. What may
 * wait is bounded without it: requests by `connections`, and each body by its own 64 KiB.
 */
function keepParsing(socket: TLSSocket & { _paused?: boolean }): void {
  if (socket._paused !== true) return
  socket._paused = false
  socket.resume()
}

/** One line for a burst of connections that were one too many, not one for each. */
function logDrops(server: http.Server, log: Logger): void {
  let dropped = 0
  server.on('drop', () => {
    dropped += 1
    if (dropped > 1) return
    setTimeout(() => {
      log.warn(
        { connections: dropped },
        'http.maxconnections: connections were closed as they came',
      )
      dropped = 0
    }, 1000).unref()
  })
}

/**
 * Answers what never became a request. A connection that is busy with an earlier request is closed
 * instead, lest that one get this answer; unless it is its body that turned out malformed.
 */
function refuse(
  refusal: RegistryError | undefined,
  socket: Duplex,
  { current, log }: { current: Unfinished | undefined; log: Logger },
): void {
  const isBusy = current !== undefined && (current.req.complete || current.res.headersSent)
  if (refusal === undefined || !socket.writable || isBusy) {
    socket.destroy()
    return
  }
  const client = socket instanceof net.Socket ? socket.remoteAddress : undefined
  const requestId = logRefusal(refusal, { client, log })
  // Not closed at once: a reset would take the answer away from a client that is still sending.
  const timer = setTimeout(() => socket.destroy(), refusalMs)
  socket.on('error', () => {}).on('close', () => clearTimeout(timer))
  socket.once('end', () => socket.destroy())
  socket.end(formatRefusal(refusal, requestId))
  socket.resume()
}

/** Returns the request id that the log has it by. */
function logRefusal(
  { status, code, detail }: RegistryError,
  { client, log }: { client: string | undefined; log: Logger },
): string {
  const requestId = randomUUID()
  log.info({ requestId, client, status, error: code, detail }, 'request refused')
  return requestId
}

/** TLS peers that are not let in, and why. They learn it from the answer to whatever they ask. */
type RefusedPeers = WeakMap<Duplex, string>

function denyPeer(
  req: http.IncomingMessage,
  res: http.ServerResponse,
  { reason, log }: { reason: string; log: Logger },
): void {
  const requestId = randomUUID()
  log.warn({ requestId, client: req.socket.remoteAddress, reason }, 'client certificate refused')
  const headers = ['X-Request-Id', requestId, 'Docker-Distribution-Api-Version', 'registry/2.0']
  const to = { req, res, progress: { bytesOut: 0 } }
  sendError(to, { error: new RegistryError('DENIED', { reason }), headers })
}

/**
 * Lets TLS peers in; `refusePeer` judges those whose handshake is done, before they can ask anything. A
 * client that speaks plain HTTP is told what is wrong once OpenSSL has found that out: to look at the
 * first byte before it would leave Node's TLS an input buffer of 17 KiB for good in place of 80, which
 * costs an upload a seventh more CPU.
 */
function admitTlsPeers(
  server: http.Server,
  connections: Connections,
  { refusePeer, refusedPeers, log }: ListenerOptions & { refusedPeers: RefusedPeers },
): void {
  server.prependListener('connection', connections.secure)
  // Before Node's own listener, which hands over a request that came with the end of the handshake.
  server.prependListener('secureConnection', (socket: TLSSocket) => {
    connections.add(socket)
    const reason = refusePeer(socket)
    if (reason !== undefined) refusedPeers.set(socket, reason)
  })
  server.on('tlsClientError', (error: NodeJS.ErrnoException, socket: TLSSocket) => {
    if (plainHttpCodes.has(error.code)) {
      refusePlainHttp(socket, log)
      return
    }
    const client = socket.remoteAddress
    // What an operator or a user can mend: certificates, versions, suites. The rest is scanners, and who
    // speaks no TLS at all has a "wrong version".
    const isMendable =
      error.code !== 'ERR_SSL_WRONG_VERSION_NUMBER' &&
      /CERT|_CA$|VERSION|PROTOCOL|CIPHER/.test(error.code ?? '')
    log[isMendable ? 'warn' : 'debug']({ client, reason: error.message }, 'TLS handshake failed')
  })
}

/** What OpenSSL says of a client that begins with the method of an HTTP request. */
const plainHttpCodes = new Set<unknown>(['ERR_SSL_HTTP_REQUEST', 'ERR_SSL_HTTPS_PROXY_REQUEST'])

/**
 * Answers on the connection beneath, which Node closes as soon as this returns: the answer is out by then,
 * since nothing was sent before it. Who is still sending a body may lose it to a reset; registry clients
 * begin with a GET.
 */
function refusePlainHttp(socket: TLSSocket, log: Logger): void {
  const reason = 'this port speaks HTTPS, and the client sent plain HTTP: use https://'
  const refusal = new RegistryError('REQUEST_INVALID', { reason })
  const requestId = logRefusal(refusal, { client: socket.remoteAddress, log })
  connectionBeneath(socket)?.end(formatRefusal(refusal, requestId))
}

import { RegistryError } from '../lib/errors.ts'
import { type BodyWriter, createBodyWriter, type RequestFraming } from './body-writer.ts'
import type { ResponseHead } from './response-head.ts'
import { createResponseReader, type ResponseSink } from './response-reader.ts'
import { openUpstreamSocket, type UpstreamSocket, type UpstreamTarget } from './upstream-socket.ts'

export type RequestHead = {
  readonly method: string
  /** Sent byte for byte; RFC 9112 section 3.2. */
  readonly target: string
  /** Name, value, name, value …; without any framing header. */
  readonly rawHeaders: readonly string[]
  readonly framing: RequestFraming
}

export type ResponseListener = {
  onHead(head: ResponseHead): void
  /** `release` must be called once `piece` is no longer needed: its memory is used again. */
  onData(piece: Buffer, release: () => void): void
  onEnd(): void
  /** The exchange failed and nothing follows. `answered`: a byte of an answer had arrived. */
  onError(error: RegistryError, answered: boolean): void
  /** Request body may be written again after `write` returned false. */
  onDrain(): void
}

/** One connection to the upstream, carrying one exchange at a time. */
export type Connection = {
  send(head: RequestHead, listener: ResponseListener): void
  /** Sends request body. Returns false when the caller should wait for `onDrain`. */
  write(piece: Buffer): boolean
  /** The request body is complete. A sized body that is not breaks the connection instead. */
  end(): void
  /** Breaks the connection; the upstream sees an aborted request, never a complete one. */
  destroy(): void
  /** True once nothing can be sent on it any more. */
  readonly destroyed: boolean
  /** True once it has carried an exchange before the present one. */
  readonly reused: boolean
}

export type ConnectionEvents = {
  /** The exchange is over and another may follow. */
  readonly onIdle: (connection: Connection) => void
  readonly onClose: (connection: Connection) => void
}

type Exchange = {
  readonly listener: ResponseListener
  /** Absent for a request without a body, as most are. */
  readonly body: BodyWriter | undefined
  requestDone: boolean
  answered: boolean
}

/**
 * Opens a connection.
 * @throws UPSTREAM_UNREACHABLE, UPSTREAM_TIMEOUT
 */
export async function openConnection(
  target: UpstreamTarget,
  events: ConnectionEvents,
  timeoutMs: number,
): Promise<Connection> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const { socket, connection } = createConnection(target, events, reject)
  const timer = setTimeout(() => {
    reject(new RegistryError('UPSTREAM_TIMEOUT', { reason: 'no connection in time' }))
    socket.destroy()
  }, timeoutMs)
  socket.once(target.tls === undefined ? 'connect' : 'secureConnect', resolve)
  try {
    await promise
    return connection
  } finally {
    clearTimeout(timer)
  }
}

function createConnection(
  target: UpstreamTarget,
  events: ConnectionEvents,
  onFailure: (error: RegistryError) => void,
): UpstreamSocket & { connection: Connection } {
  const reader = createResponseReader()
  let exchange: Exchange | undefined
  let exchanges = 0

  /** A failed write does not destroy the socket at once, see `readOnAfterWriteError`. */
  const isBroken = (): boolean => upstream.socket.destroyed || !upstream.socket.writable

  const takeExchange = (): Exchange | undefined => {
    const taken = exchange
    exchange = undefined
    taken?.body?.stop()
    return taken
  }

  const fail = (error: RegistryError): void => {
    upstream.socket.destroy()
    onFailure(error)
    const failed = takeExchange()
    failed?.listener.onError(error, failed.answered)
  }

  /** What the reader cannot accept ends the connection. */
  const failBecause = (error: unknown): void =>
    fail(
      error instanceof RegistryError
        ? error
        : new RegistryError('UNKNOWN', undefined, { cause: error }),
    )

  const finish = (reusable: boolean): void => {
    const finished = takeExchange()
    upstream.rest()
    // An answer that overtook its request leaves a body half-sent: the connection ends with it.
    if (!reusable || isBroken() || finished?.requestDone !== true) upstream.socket.destroy()
    else events.onIdle(connection)
    finished?.listener.onEnd()
  }

  const upstream = openUpstreamSocket(target, {
    remaining: () => reader.remaining,
    onBytes(bytes) {
      if (exchange !== undefined) exchange.answered = true
      try {
        reader.read(bytes)
      } catch (error) {
        failBecause(error)
      }
    },
  })
  const sink: ResponseSink = {
    onHead: (head) => exchange?.listener.onHead(head),
    onPiece(piece) {
      // The bytes of one read may go on after the listener has destroyed the connection.
      if (exchange === undefined) return
      const { bytes, release } = upstream.keep(piece)
      exchange.listener.onData(bytes, release)
    },
    onEnd: finish,
  }
  const connection: Connection = {
    send(head, listener) {
      exchanges += 1
      const { framing } = head
      const hasBody = framing.kind !== 'none'
      const body = hasBody
        ? createBodyWriter(upstream.socket, framing, listener.onDrain)
        : undefined
      exchange = { listener, body, requestDone: !hasBody, answered: false }
      reader.expect(head.method, sink)
      upstream.socket.write(formatRequestHead(head), 'latin1')
    },
    write: (piece) => exchange?.body?.write(piece) ?? true,
    end() {
      if (exchange === undefined) return
      exchange.requestDone = exchange.body?.end() ?? true
      if (!exchange.requestDone)
        fail(new RegistryError('REQUEST_INVALID', { reason: 'the body is short' }))
    },
    destroy() {
      takeExchange()
      upstream.socket.destroy()
    },
    get destroyed() {
      return isBroken()
    },
    get reused() {
      return exchanges > 1
    },
  }

  upstream.socket.on('error', (cause) => {
    fail(unreachable(undefined, cause))
  })
  upstream.socket.on('end', () => {
    try {
      reader.end()
    } catch (error) {
      failBecause(error)
    }
    upstream.socket.destroy()
  })
  upstream.socket.on('close', () => {
    fail(unreachable({ reason: 'the connection closed' }))
    upstream.rest()
    events.onClose(connection)
  })
  return { ...upstream, connection }
}

function unreachable(detail: unknown, cause?: Error): RegistryError {
  return new RegistryError('UPSTREAM_UNREACHABLE', detail, {
    cause,
    headers: { 'Retry-After': '5' },
  })
}

/** The request line and headers, framing included; RFC 9112 sections 3 and 6. */
function formatRequestHead({ method, target, rawHeaders, framing }: RequestHead): string {
  let head = `${method} ${target} HTTP/1.1\r\n`
  for (let index = 0; index < rawHeaders.length; index += 2) {
    head += `${rawHeaders[index]}: ${rawHeaders[index + 1]}\r\n`
  }
  if (framing.kind === 'sized') head += `Content-Length: ${framing.length}\r\n`
  if (framing.kind === 'chunked') head += 'Transfer-Encoding: chunked\r\n'
  return `${head}\r\n`
}

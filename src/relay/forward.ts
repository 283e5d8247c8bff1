import { RegistryError } from '../lib/errors.ts'
import type { Connection, RequestHead } from './connection.ts'
import { type RelayedExchange, runExchange } from './exchange.ts'
import { hostnameOf, placeOf } from './location.ts'
import { createPool } from './pool.ts'
import { requestFramingOf, requestHeadersFor } from './request-headers.ts'
import type { ResponseHead } from './response-head.ts'
import { responseHeadersFor } from './response-headers.ts'
import type { UpstreamTarget } from './upstream-socket.ts'

export type Relay = {
  /**
   * Passes the request on and the answer back, both streamed. Resolves when the exchange is over or
   * the client has left. When it rejects, an answer that was begun must be broken, not ended.
   * @throws UPSTREAM_UNREACHABLE, UPSTREAM_INVALID, UPSTREAM_TIMEOUT, REQUEST_TIMEOUT, REQUEST_TOO_LARGE
   */
  forward(exchange: RelayedExchange): Promise<void>
  /** Resolves when the upstream answers at all. @throws as `forward` */
  probe(): Promise<void>
  close(): void
}

export type RelayOptions = {
  readonly target: UpstreamTarget
  readonly scheme: 'http' | 'https'
  /** The upstream's own host and port, as it may name itself. */
  readonly authority: string
  /** What becomes of the client's credentials: dropped, passed, or replaced by this header value. */
  readonly authorization: 'strip' | 'pass' | { readonly value: string }
  /** Print references in answers without scheme and host. */
  readonly relative: boolean
  readonly maxBodyBytes: number | undefined
  readonly timeouts: { readonly connect: number; readonly response: number; readonly idle: number }
}

/** The proxy backend: every exchange takes one upstream connection and streams through it. */
export function createRelay(options: RelayOptions): Relay {
  const { authorization, timeouts } = options
  const pool = createPool(options.target, { connectTimeoutMs: timeouts.connect })
  const upstreamHost = hostnameOf(options.authority)
  const upstreamPlace = placeOf(options.scheme, options.authority)
  const credentials =
    authorization === 'strip' ? undefined : authorization === 'pass' ? 'pass' : authorization.value

  const requestHead = ({
    id,
    req,
    origin: { scheme, authority, clientAddress },
  }: RelayedExchange): RequestHead => ({
    method: req.method ?? 'GET',
    target: req.url ?? '/',
    rawHeaders: requestHeadersFor(
      req.rawHeaders,
      { host: authority, scheme, clientAddress, requestId: id },
      credentials,
    ),
    framing: requestFramingOf(req.headers),
  })

  const responseHeaders = (head: ResponseHead, exchange: RelayedExchange): string[] => {
    const { scheme, authority } = exchange.origin
    const absoluteOrigin = `${scheme}://${authority}`
    return responseHeadersFor(head, {
      publicOrigin: options.relative ? undefined : absoluteOrigin,
      absoluteOrigin,
      requestTarget: exchange.req.url ?? '/',
      isOurs: (place) =>
        place === upstreamHost ||
        place === upstreamPlace ||
        place === hostnameOf(authority) ||
        place === placeOf(scheme, authority),
      isUpstream: (place) => place === upstreamPlace,
      own: exchange.headers(),
    })
  }

  const exchangeOn = (
    connection: Connection,
    exchange: RelayedExchange,
  ): Promise<'done' | 'retry'> =>
    runExchange(connection, exchange, {
      head: requestHead(exchange),
      responseHeaders: (head) => responseHeaders(head, exchange),
      maxBodyBytes: options.maxBodyBytes ?? Number.POSITIVE_INFINITY,
      timeouts,
    })

  return {
    async forward(exchange) {
      const hasBody = requestFramingOf(exchange.req.headers).kind !== 'none'
      const connection = await pool.acquire(hasBody ? 'careful' : 'any')
      if ((await exchangeOn(connection, exchange)) === 'done') return
      await exchangeOn(await pool.acquire('fresh'), exchange)
    },
    async probe() {
      await probeOn(await pool.acquire('fresh'), options.authority, timeouts.connect)
    },
    close: pool.close,
  }
}

/** Asks for the API's base; any well-formed answer, 401 included, shows a living upstream. */
async function probeOn(
  connection: Connection,
  authority: string,
  timeoutMs: number,
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const timer = setTimeout(() => reject(new RegistryError('UPSTREAM_TIMEOUT')), timeoutMs)
  const head: RequestHead = {
    method: 'GET',
    target: '/v2/',
    rawHeaders: ['Host', authority, 'Connection', 'close'],
    framing: { kind: 'none' },
  }
  connection.send(head, {
    onHead: ({ status }) =>
      status < 500 ? resolve() : reject(new RegistryError('UPSTREAM_INVALID', { status })),
    onData: (_, release) => release(),
    onEnd: () => {},
    onError: reject,
    onDrain: () => {},
  })
  try {
    await promise
  } finally {
    clearTimeout(timer)
    connection.destroy()
  }
}

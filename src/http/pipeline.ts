import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Logger } from 'pino'
import type { Authenticator } from '../auth/authenticator.ts'
import { RegistryError } from '../lib/errors.ts'
import { headerValues } from '../lib/header-values.ts'
import type { Metrics } from '../observability/metrics.ts'
import { createAccessLog, outcomeOf, recordAccess } from './access-log.ts'
import type { Cors } from './cors.ts'
import type { Exchange, RoutedExchange } from './exchange.ts'
import { answerLocal, type Health } from './local.ts'
import type { Origin } from './origin.ts'
import { sendError, sendReply, toRegistryError } from './reply.ts'
import { methodsOf, parseRoute, type Route, withoutQuery } from './route.ts'

/** What answers a registry request that may proceed: an upstream, or the embedded registry. */
export type Backend = {
  /** Answers, or throws a RegistryError while nothing has been answered. */
  handle(exchange: RoutedExchange): Promise<void>
  /** Resolves if it could answer now. */
  probe(): Promise<void>
}

export type PipelineParts = {
  readonly readOrigin: (req: IncomingMessage) => Origin
  readonly cors: Cors
  readonly authenticator: Authenticator
  readonly backend: Backend
  readonly health: Health
  /** `http.headers` of the configuration: name and value in turn. */
  readonly headers: readonly string[]
  /** Paths of the backend's own token endpoint, forwarded without a look at credentials. */
  readonly tokenPaths: readonly string[]
  /** Longest body in bytes; undefined has no limit. */
  readonly maxBodyBytes: number | undefined
  readonly isDraining: () => boolean
  readonly log: Logger
  readonly accessLog: boolean
  readonly metrics: Metrics
}

export type RequestHandler = (
  req: IncomingMessage,
  res: ServerResponse,
  expectsContinue?: boolean,
) => void

/**
 * The way of every request: id, route, CORS preflight, identity, access, backend; one place that
 * writes errors and one that writes the access record.
 */
export function createPipeline(parts: PipelineParts): RequestHandler {
  const accessLog = parts.accessLog ? createAccessLog(parts.log) : undefined
  return (req, res, expectsContinue = false) => {
    const id = randomUUID()
    const exchange: Exchange = {
      id,
      req,
      res,
      startedAt: performance.now(),
      expectsContinue,
      headers: () => answerHeaders(id, req, parts),
      progress: { bytesIn: 0, bytesOut: 0 },
      // Filled in later; an object that grows gets slower to read.
      origin: undefined,
      route: undefined,
      principal: undefined,
      error: undefined,
    }
    res.on('error', (error) =>
      parts.log.debug({ err: error, requestId: exchange.id }, 'response broke'),
    )
    parts.metrics.observeRequestStart()
    res.on('close', () => record(exchange, parts.metrics, accessLog))
    void answer(exchange, parts)
  }
}

async function answer(exchange: Exchange, parts: PipelineParts): Promise<void> {
  const { res } = exchange
  try {
    await route(exchange, parts)
  } catch (thrown) {
    const error = toRegistryError(thrown)
    exchange.error = error
    logFailure(error, exchange, parts.log)
    if (res.headersSent || res.destroyed) res.destroy()
    else
      sendError(exchange, { error: withRequestId(error, exchange.id), headers: exchange.headers() })
  }
}

function answerHeaders(id: string, req: IncomingMessage, parts: PipelineParts): string[] {
  const headers = ['X-Request-Id', id, 'Docker-Distribution-Api-Version', 'registry/2.0']
  headers.push(...parts.headers, ...parts.cors.headersFor(req.headers))
  if (parts.isDraining()) headers.push('Connection', 'close')
  return headers
}

async function route(exchange: Exchange, parts: PipelineParts): Promise<void> {
  const target = exchange.req.url ?? '/'
  const isToken = parts.tokenPaths.includes(withoutQuery(target))
  const found: Route = isToken ? { kind: 'extension' } : parseRoute(target)
  exchange.route = found
  if (found.kind === 'local') {
    await answerLocal({ to: exchange, path: found.path, headers: exchange.headers() }, parts.health)
    return
  }
  const preflight = parts.cors.preflightHeaders(exchange.req)
  if (preflight !== undefined) {
    sendReply(exchange, { status: 204, headers: ['X-Request-Id', exchange.id, ...preflight] })
    return
  }
  const origin = parts.readOrigin(exchange.req)
  exchange.origin = origin
  if (!isToken) {
    exchange.principal = await parts.authenticator.authenticate({
      authorization: soleAuthorization(exchange.req),
      clientAddress: origin.clientAddress,
    })
  }
  if (answersOptions(exchange, found)) return
  requireFitting(exchange.req, parts)
  if (exchange.res.destroyed) return
  // The same object: what the backend finds out is in the access record, and nothing is copied.
  await parts.backend.handle(Object.assign(exchange, { origin, route: found }))
}

/** Answers OPTIONS ourselves. @throws UNSUPPORTED for a method that the route does not have */
function answersOptions(exchange: Exchange, found: Route): boolean {
  const { method = '' } = exchange.req
  const methods: readonly string[] = methodsOf(found)
  if (methods.includes(method)) return false
  const allow = [...methods, 'OPTIONS'].join(', ')
  if (method === 'OPTIONS') {
    sendReply(exchange, { status: 204, headers: ['Allow', allow, ...exchange.headers()] })
    return true
  }
  throw new RegistryError('UNSUPPORTED', { method }, { headers: { Allow: allow } })
}

/** @throws REQUEST_TOO_LARGE for a body that says it is longer than any may be */
function requireFitting({ headers }: IncomingMessage, { maxBodyBytes }: PipelineParts): void {
  if (maxBodyBytes !== undefined && Number(headers['content-length'] ?? 0) > maxBodyBytes)
    throw new RegistryError('REQUEST_TOO_LARGE', { maxBodyBytes })
}

/** Node keeps the first of several Authorization headers; a backend might keep the last. */
function soleAuthorization(req: IncomingMessage): string | undefined {
  const values = headerValues(req, 'authorization')
  if (values.length > 1) {
    throw new RegistryError('REQUEST_INVALID', {
      reason: 'there are several Authorization headers',
    })
  }
  return values[0]
}

/** Counts and logs an exchange whose response has closed. */
function record(exchange: Exchange, metrics: Metrics, accessLog: Logger | undefined): void {
  const { req, route: found, progress } = exchange
  const outcome = outcomeOf(exchange)
  metrics.observeRequest({
    kind: found?.kind,
    method: req.method ?? '',
    ...outcome,
    bytesIn: progress.bytesIn,
    bytesOut: progress.bytesOut,
  })
  if (accessLog !== undefined) recordAccess(exchange, outcome, accessLog)
}

/** Server faults name the request, so that a user's report leads to the line in the log. */
function withRequestId(error: RegistryError, requestId: string): RegistryError {
  if (error.status < 500) return error
  const { detail, headers, cause } = error
  const object = typeof detail === 'object' && detail !== null ? detail : {}
  return new RegistryError(error.code, { ...object, requestId }, { headers, cause })
}

function logFailure(error: RegistryError, { id }: Exchange, log: Logger): void {
  if (error.status < 500) return
  const fields = { requestId: id, code: error.code, detail: error.detail, err: error.cause }
  if (error.code === 'UNKNOWN') log.error(fields, 'request failed unexpectedly')
  else log.warn(fields, error.message)
}

import type { IncomingMessage } from 'node:http'
import type { Logger } from 'pino'
import { type AccessRecord, logField } from '../observability/access-record.ts'
import type { Exchange } from './exchange.ts'
import type { Route } from './route.ts'

/** Probes come every few seconds and say nothing about the registry's use. */
const probePaths = new Set(['/healthz', '/readyz'])

/**
 * The log for access records. They have no field that could hold a secret, and looking for one in each
 * took 50 us where writing it takes 4.
 */
export function createAccessLog(log: Logger): Logger {
  return log.child({}, { redact: [] })
}

/** How an exchange ended. */
export type Outcome = { readonly status: number; readonly ms: number }

/** How an exchange ended whose response has just closed: 499 if the client left before. */
export function outcomeOf({ res, error, startedAt }: Exchange): Outcome {
  const wasAnswered = res.writableFinished || (error !== undefined && res.headersSent)
  return { status: wasAnswered ? res.statusCode : 499, ms: performance.now() - startedAt }
}

/** Writes the access record of an exchange whose response has closed. */
export function recordAccess(exchange: Exchange, { status, ms }: Outcome, log: Logger): void {
  const { req, route: found, principal, origin } = exchange
  if (found?.kind === 'local' && probePaths.has(found.path)) return
  const { repository, reference, path } = subjectOf(found, req)
  const entry: AccessRecord = {
    requestId: exchange.id,
    client: origin?.clientAddress ?? req.socket.remoteAddress ?? '',
    user: principal?.kind === 'user' ? principal.name : undefined,
    method: req.method ?? '',
    host: logField(origin?.authority),
    repository,
    reference,
    path,
    status,
    error: exchange.error?.code,
    bytesIn: exchange.progress.bytesIn,
    bytesOut: exchange.progress.bytesOut,
    ms: Math.round(ms * 10) / 10,
    userAgent: logField(req.headers['user-agent']),
  }
  log.info(entry, 'request')
}

/** What the request was about. The query is left out: it holds `_state`, which is a capability. */
function subjectOf(
  found: Route | undefined,
  req: IncomingMessage,
): Pick<AccessRecord, 'repository' | 'reference' | 'path'> {
  if (found === undefined || !('name' in found)) {
    const path = logField((req.url ?? '').replace(/[?#].*$/s, ''))
    return { repository: undefined, reference: undefined, path }
  }
  const reference =
    'reference' in found
      ? found.reference
      : 'digest' in found
        ? found.digest
        : 'id' in found
          ? found.id
          : undefined
  return { repository: found.name, reference, path: undefined }
}

import type { IncomingMessage } from 'node:http'
import type { Logger } from 'pino'
import { type AccessRecord, logField } from '../observability/access-record.ts'
import type { Exchange } from './exchange.ts'
import type { Route } from './route.ts'

/** Probes come every few seconds and say nothing about the registry's use. */
const probePaths = new Set(['/healthz', '/readyz'])

/** Writes the access record of an exchange whose response has closed. */
export function recordAccess(exchange: Exchange, log: Logger): void {
  const { req, route: found, principal } = exchange
  if (found?.kind === 'local' && probePaths.has(found.path)) return
  const entry: AccessRecord = {
    requestId: exchange.id,
    client: exchange.origin?.clientAddress ?? req.socket.remoteAddress ?? '',
    user: principal?.kind === 'user' ? principal.name : undefined,
    method: req.method ?? '',
    host: logField(exchange.origin?.authority),
    ...subjectOf(found, req),
    status: statusOf(exchange),
    error: exchange.error?.code,
    bytesIn: exchange.progress.bytesIn,
    bytesOut: exchange.progress.bytesOut,
    ms: Math.round((performance.now() - exchange.startedAt) * 10) / 10,
    userAgent: logField(req.headers['user-agent']),
  }
  log.info(entry, 'request')
}

/** The status that was sent, or 499 if the client left before its answer was complete. */
function statusOf({ res, error }: Exchange): number {
  if (res.writableFinished || (error !== undefined && res.headersSent)) return res.statusCode
  return 499
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

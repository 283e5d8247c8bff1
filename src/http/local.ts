import type { IncomingMessage, ServerResponse } from 'node:http'
import { RegistryError } from '../lib/errors.ts'
import { type Answering, sendError, sendJson, sendReply, toRegistryError } from './reply.ts'
import { parseRoute } from './route.ts'

export type Health = {
  /** Why no new work should come here now; undefined when ready. */
  notReady(): Promise<string | undefined>
}

/** How long one look at the backend answers for others: probes come from many places at once. */
const readinessTtlMs = 1000

/** Readiness of the whole: not while draining, and not without a backend. */
export function createHealth(
  backend: { probe(): Promise<void> },
  isDraining: () => boolean,
): Health {
  let checked: { at: number; result: Promise<string | undefined> } | undefined
  const check = (): Promise<string | undefined> =>
    backend.probe().then(
      () => undefined,
      (error: Error) => error.message,
    )
  return {
    async notReady() {
      if (isDraining()) return 'this server is shutting down'
      if (checked === undefined || performance.now() - checked.at > readinessTtlMs) {
        checked = { at: performance.now(), result: check() }
      }
      return await checked.result
    },
  }
}

/**
 * Answers what is not the registry's: `/healthz` (the process works), `/readyz` (and so does what it
 * depends on), `/` (as registry:2 does). No authentication.
 * @throws NOT_FOUND, UNSUPPORTED
 */
export async function answerLocal(
  { to, path, headers }: { to: Answering; path: string; headers: readonly string[] },
  health: Health,
): Promise<void> {
  const known = path === '/' || path === '/healthz' || path === '/readyz'
  if (!known) throw new RegistryError('NOT_FOUND', { path: path.slice(0, 256) })
  requireReading(to.req)
  const uncached = ['Cache-Control', 'no-cache', ...headers]
  if (path === '/') {
    sendReply(to, { status: 200, headers: uncached, body: '' })
    return
  }
  const reason = path === '/readyz' ? await health.notReady() : undefined
  const value = reason === undefined ? { status: 'ok' } : { status: 'unavailable', reason }
  const retry = reason === undefined ? [] : ['Retry-After', '5']
  sendJson(to, {
    status: reason === undefined ? 200 : 503,
    headers: [...uncached, ...retry],
    value,
  })
}

/** Metrics in the text format of Prometheus, and the path where they are asked for. */
export type MetricsPage = { readonly path: string; text(): Promise<string> }

/** Handles a listener that has only what is local, with registry:2's path for it too, and metrics. */
export function createLocalHandler(
  health: Health,
  metrics?: MetricsPage,
): (req: IncomingMessage, res: ServerResponse) => void {
  const answer = async (to: Answering): Promise<void> => {
    try {
      if (metrics !== undefined && to.req.url?.replace(/\?.*$/s, '') === metrics.path) {
        await answerMetrics(to, metrics)
        return
      }
      const route = parseRoute(to.req.url ?? '/')
      const path = route.kind === 'local' ? route.path : '/v2'
      await answerLocal(
        { to, path: path === '/debug/health' ? '/readyz' : path, headers: [] },
        health,
      )
    } catch (error) {
      sendError(to, { error: toRegistryError(error), headers: [] })
    }
  }
  return (req, res) => void answer({ req, res, progress: { bytesOut: 0 } })
}

async function answerMetrics(to: Answering, metrics: MetricsPage): Promise<void> {
  requireReading(to.req)
  const type = ['Content-Type', 'text/plain; version=0.0.4; charset=utf-8']
  sendReply(to, {
    status: 200,
    headers: [...type, 'Cache-Control', 'no-cache'],
    body: await metrics.text(),
  })
}

function requireReading({ method }: IncomingMessage): void {
  if (method === 'GET' || method === 'HEAD') return
  throw new RegistryError('UNSUPPORTED', undefined, { headers: { Allow: 'GET, HEAD' } })
}

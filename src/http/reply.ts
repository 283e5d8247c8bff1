import type { IncomingMessage, ServerResponse } from 'node:http'
import { endResponse } from '../lib/end-response.ts'
import { errorBody, RegistryError } from '../lib/errors.ts'

/** What an answer is given to, and what counts its bytes. */
export type Answering = {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  readonly progress: { bytesOut: number }
}

type Reply = {
  readonly status: number
  /** Name and value in turn. */
  readonly headers: readonly string[]
  readonly body?: string
}

/**
 * Sends an answer of our own. A request that is still arriving is not read to its end: the
 * connection closes, once its sender has had a moment to see the answer.
 */
export function sendReply(
  { req, res, progress }: Answering,
  { status, headers, body }: Reply,
): void {
  const length = body === undefined ? [] : ['Content-Length', String(Buffer.byteLength(body))]
  const mustClose = !req.complete && hasBody(req) && !headers.includes('Connection')
  const closing = mustClose ? ['Connection', 'close'] : []
  res.writeHead(status, [...headers, ...length, ...closing])
  if (body !== undefined && req.method !== 'HEAD') {
    res.write(body)
    progress.bytesOut += Buffer.byteLength(body)
  }
  if (hasBody(req)) endResponse(req, res)
  else res.end()
}

/** Sends `value` as JSON. */
export function sendJson(
  to: Answering,
  { status, headers, value }: { status: number; headers: readonly string[]; value: unknown },
): void {
  const json = ['Content-Type', 'application/json', ...headers]
  sendReply(to, { status, headers: json, body: `${JSON.stringify(value)}\n` })
}

/** Sends the specification's error body for `error`, with the headers that belong to it. */
export function sendError(
  to: Answering,
  { error, headers }: { error: RegistryError; headers: readonly string[] },
): void {
  const own = Object.entries(error.headers).flat()
  const json = ['Content-Type', 'application/json', 'Cache-Control', 'no-store']
  sendReply(to, {
    status: error.status,
    headers: [...json, ...headers, ...own],
    body: errorBody(error),
  })
}

/** `error` as one with a public face; anything unforeseen is UNKNOWN, its cause for the log only. */
export function toRegistryError(error: unknown): RegistryError {
  return error instanceof RegistryError
    ? error
    : new RegistryError('UNKNOWN', undefined, { cause: error })
}

function hasBody({ headers }: IncomingMessage): boolean {
  const length = headers['content-length']
  return headers['transfer-encoding'] !== undefined || (length !== undefined && length !== '0')
}

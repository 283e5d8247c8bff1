import { RegistryError } from '../lib/errors.ts'
import { headerValues } from '../lib/header-values.ts'
import { hopByHopHeaders } from '../lib/hop-by-hop.ts'
import type { RequestFraming } from './body-writer.ts'

/**
 * What we say ourselves, so that a client cannot: where the request came from, how its body is
 * delimited, and `Expect`, which we answered.
 */
const replaced = new Set([
  'host',
  'content-length',
  'expect',
  'forwarded',
  'x-forwarded',
  'x-original-host',
  'x-real-ip',
  'x-request-id',
])

const none: ReadonlySet<string> = new Set()

/** What the upstream is told about the client's side of the exchange. */
export type ForwardedFacts = {
  /** Authority that the client used, with its port. */
  readonly host: string
  readonly scheme: 'http' | 'https'
  readonly clientAddress: string
  readonly requestId: string
}

/**
 * The headers for the upstream: the client's, less what is about its connection or ours to say, then
 * one each of Host and X-Forwarded-*. `authorization`: `'pass'`, or the value to send instead, or
 * undefined for none.
 */
export function requestHeadersFor(
  rawHeaders: readonly string[],
  facts: ForwardedFacts,
  authorization: 'pass' | string | undefined,
): string[] {
  const listed = connectionOptions(rawHeaders)
  const headers = ['Host', facts.host]
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? ''
    const key = name.toLowerCase()
    if (hopByHopHeaders.has(key) || replaced.has(key) || listed.has(key)) continue
    if (key.startsWith('x-forwarded-')) continue
    if (key === 'authorization' && authorization !== 'pass') continue
    headers.push(name, rawHeaders[index + 1] ?? '')
  }
  if (authorization !== undefined && authorization !== 'pass') {
    headers.push('Authorization', authorization)
  }
  headers.push('X-Forwarded-Proto', facts.scheme, 'X-Forwarded-Host', facts.host)
  headers.push('X-Forwarded-For', facts.clientAddress, 'X-Real-IP', facts.clientAddress)
  headers.push('X-Request-Id', facts.requestId)
  return headers
}

/**
 * How the client delimited its body; Node's parser has refused whatever is ambiguous.
 * @throws REQUEST_INVALID for a transfer coding besides chunked, which could not be passed on as it is
 */
export function requestFramingOf(headers: {
  'content-length'?: string | undefined
  'transfer-encoding'?: string | undefined
}): RequestFraming {
  const coding = headers['transfer-encoding']
  if (coding !== undefined) {
    if (coding.toLowerCase() === 'chunked') return { kind: 'chunked' }
    throw new RegistryError('REQUEST_INVALID', { reason: 'the only transfer coding is chunked' })
  }
  const length = headers['content-length']
  return length === undefined ? { kind: 'none' } : { kind: 'sized', length: Number(length) }
}

/** Headers of one hop in a response, by the same rule: those of RFC 9110 and those it lists itself. */
export function isHopByHop(name: string, listed: ReadonlySet<string>): boolean {
  return hopByHopHeaders.has(name) || listed.has(name)
}

/** Names listed in Connection, which are hop-by-hop too; RFC 9110 section 7.6.1. */
export function connectionOptions(rawHeaders: readonly string[]): ReadonlySet<string> {
  const values = headerValues({ rawHeaders }, 'connection')
  if (values.length === 0) return none
  return new Set(values.join(',').split(',').map(trimmedLowerCase))
}

function trimmedLowerCase(text: string): string {
  return text.trim().toLowerCase()
}

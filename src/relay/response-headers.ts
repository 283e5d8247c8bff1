import { hasHeader } from '../lib/header-values.ts'
import { type LocationContext, rewriteLink, rewriteLocation, rewriteRealm } from './location.ts'
import { connectionOptions, isHopByHop } from './request-headers.ts'
import type { ResponseHead } from './response-head.ts'

export type ResponseHeaderContext = LocationContext & {
  /** Absolute form of the public origin, for realms, which are never relative. */
  readonly absoluteOrigin: string
  /** True for a `host:port` that means the upstream. */
  readonly isUpstream: (place: string) => boolean
  /** Headers of the front, name and value in turn; each replaces the upstream's of that name. */
  readonly own: readonly string[]
}

/** Headers that are the front's alone: two voices about CORS and a browser believes neither. */
const ownPrefix = 'access-control-'

/**
 * The headers for the client: the upstream's, less what is about its connection or ours to say, with
 * every reference in them mapped to the public origin, then the front's own.
 */
export function responseHeadersFor(head: ResponseHead, context: ResponseHeaderContext): string[] {
  const listed = connectionOptions(head.rawHeaders)
  const headers: string[] = []
  for (let index = 0; index + 1 < head.rawHeaders.length; index += 2) {
    const name = head.rawHeaders[index] ?? ''
    const key = name.toLowerCase()
    if (isHopByHop(key, listed) || key.startsWith(ownPrefix)) continue
    if (key !== 'vary' && hasHeader(context.own, key)) continue
    headers.push(name, rewriteValue(key, head.rawHeaders[index + 1] ?? '', head.status, context))
  }
  headers.push(...context.own)
  return headers
}

function rewriteValue(
  key: string,
  value: string,
  status: number,
  context: ResponseHeaderContext,
): string {
  switch (key) {
    case 'location':
    case 'content-location':
      return rewriteLocation(value, status, context)
    case 'link':
      return rewriteLink(value, context)
    case 'www-authenticate':
      return rewriteRealm(value, context.isUpstream, context.absoluteOrigin)
    default:
      return value
  }
}

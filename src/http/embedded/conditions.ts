import type { IncomingMessage } from 'node:http'
import type { Digest } from '../../lib/digest.ts'

/** The entity tag of what a digest names: bytes that can never change. */
export function entityTag(digest: Digest): string {
  return `"${digest}"`
}

/**
 * True when the client has what `digest` names already; RFC 9110 section 13.1.2. The comparison is the
 * weak one, and clients that leave the quotes out, as registry:2 allows, are understood too.
 */
export function isKnownToClient({ headers }: IncomingMessage, digest: Digest): boolean {
  const tags = headers['if-none-match']?.split(',') ?? []
  return tags.some((tag) => {
    const bare = tag.trim().replace(/^(?:W\/)?"(.*)"$/, '$1')
    return bare === digest || bare === '*'
  })
}

/**
 * The `Range` of a request, unless `If-Range` says that it is about another representation; RFC 9110
 * section 13.1.5. Dates say nothing about what we send, and weak tags never match.
 */
export function rangeHeader({ headers }: IncomingMessage, digest: Digest): string | undefined {
  const condition = headers['if-range']
  return condition === undefined || condition === entityTag(digest) ? headers.range : undefined
}

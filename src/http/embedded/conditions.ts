import type { IncomingMessage } from 'node:http'
import type { Digest } from '../../lib/digest.ts'
import { RegistryError } from '../../lib/errors.ts'

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
 * Refuses a request whose `If-Match` does not name what is there; RFC 9110 section 13.1.1. The comparison
 * is the strong one; quotes may be left out here too.
 * @throws PRECONDITION_FAILED
 */
export function requireMatch({ headers }: IncomingMessage, digest: Digest | undefined): void {
  const tags = headers['if-match']?.split(',').map((tag) => tag.trim().replace(/^"(.*)"$/, '$1'))
  if (tags === undefined) return
  const isThere = digest !== undefined && (tags.includes(digest) || tags.includes('*'))
  if (!isThere) throw new RegistryError('PRECONDITION_FAILED', { current: digest ?? null })
}

/** Whether a change depends on what is there. */
export function isConditional({ headers }: IncomingMessage): boolean {
  return headers['if-match'] !== undefined || headers['if-none-match'] !== undefined
}

/** Refuses a change unless what is there is what it expects. @throws PRECONDITION_FAILED */
export function requireExpected(req: IncomingMessage, digest: Digest | undefined): void {
  requireMatch(req, digest)
  if (digest !== undefined && isKnownToClient(req, digest))
    throw new RegistryError('PRECONDITION_FAILED', { current: digest })
}

/**
 * The `Range` of a request, unless `If-Range` says that it is about another representation; RFC 9110
 * section 13.1.5. Dates say nothing about what we send, and weak tags never match.
 */
export function rangeHeader({ headers }: IncomingMessage, digest: Digest): string | undefined {
  const condition = headers['if-range']
  return condition === undefined || condition === entityTag(digest) ? headers.range : undefined
}

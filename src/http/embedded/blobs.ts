import { RegistryError } from '../../lib/errors.ts'
import { parseByteRange } from '../../lib/ranges.ts'
import type { Blobs } from '../../registry/blobs.ts'
import type { RoutedExchange } from '../exchange.ts'
import { sendReply } from '../reply.ts'
import { entityTag, isKnownToClient, rangeHeader, requireMatch } from './conditions.ts'
import { isVerifiable } from './digests.ts'
import { type EmbeddedOptions, type Endpoint, type RouteOf, sendEmpty } from './endpoint.ts'
import { sendStored } from './sending.ts'

/** OCI distribution-spec "Pulling blobs" and "Deleting blobs". */
export function createBlobEndpoint(
  blobs: Blobs,
  { idleTimeoutMs }: EmbeddedOptions,
): Endpoint<'blob'> {
  return {
    async HEAD(exchange, route) {
      requireKnowable(route)
      // Its answer may keep the client from pushing the blob, which `open` would not take note of.
      const { size } = await blobs.stat(route.name, route.digest)
      if (sendUnlessKnown(exchange, route)) return
      const headers = [...exchange.headers(), ...wholeHeaders(route)]
      sendReply(exchange, { status: 200, headers: [...headers, 'Content-Length', String(size)] })
    },
    async GET(exchange, route) {
      requireKnowable(route)
      await using reader = await blobs.open(route.name, route.digest)
      if (sendUnlessKnown(exchange, route)) return
      const { size } = reader.stat
      const range = parseByteRange(rangeHeader(exchange.req, route.digest), size)
      if (range === 'unsatisfiable') {
        const headers = { 'Content-Range': `bytes */${size}` }
        throw new RegistryError('RANGE_INVALID', { sizeBytes: size }, { headers })
      }
      const headers = wholeHeaders(route)
      if (range !== undefined)
        headers.push('Content-Range', `bytes ${range.first}-${range.last}/${size}`)
      const { first, last } = range ?? { first: 0, last: size - 1 }
      const head = { status: range === undefined ? 200 : 206, headers }
      const part = { reader, position: first, length: last - first + 1 }
      await sendStored(exchange, head, part, idleTimeoutMs)
    },
    async DELETE(exchange, route) {
      requireKnowable(route)
      await blobs.delete(route.name, route.digest)
      sendEmpty(exchange, 202, [])
    },
  }
}

/** Nothing is ever stored under a digest that could not be verified. @throws BLOB_UNKNOWN */
function requireKnowable({ digest }: RouteOf<'blob'>): void {
  if (!isVerifiable(digest)) throw new RegistryError('BLOB_UNKNOWN', { digest })
}

/** Answers 304 if the client has the blob already. @throws PRECONDITION_FAILED */
function sendUnlessKnown(exchange: RoutedExchange, route: RouteOf<'blob'>): boolean {
  requireMatch(exchange.req, route.digest)
  if (!isKnownToClient(exchange.req, route.digest)) return false
  sendReply(exchange, { status: 304, headers: [...exchange.headers(), ...identityHeaders(route)] })
  return true
}

/** What is true of a blob for ever, whichever part of it is sent. */
function identityHeaders({ digest }: RouteOf<'blob'>): string[] {
  return [
    ...['Docker-Content-Digest', digest],
    ...['ETag', entityTag(digest)],
    ...['Cache-Control', 'max-age=31536000'],
  ]
}

function wholeHeaders(route: RouteOf<'blob'>): string[] {
  const format = ['Content-Type', 'application/octet-stream', 'Accept-Ranges', 'bytes']
  return [...format, ...identityHeaders(route)]
}

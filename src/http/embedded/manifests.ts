import type { ByteSource } from '../../lib/byte-source.ts'
import { type Digest, isDigest } from '../../lib/digest.ts'
import { RegistryError } from '../../lib/errors.ts'
import { parseTag, type Tag } from '../../lib/names.ts'
import type { Manifest } from '../../registry/manifests/manifests.ts'
import type { Registry } from '../../registry/registry.ts'
import type { RoutedExchange } from '../exchange.ts'
import { sendReply } from '../reply.ts'
import { createConditions } from './conditional-changes.ts'
import { entityTag, isKnownToClient, requireMatch } from './conditions.ts'
import { isVerifiable, requireVerifiable } from './digests.ts'
import {
  type EmbeddedOptions,
  type Endpoint,
  locationOf,
  type RouteOf,
  sendEmpty,
} from './endpoint.ts'
import { parseQuery } from './query.ts'
import { bodyLength, createRequestBody } from './request-body.ts'
import { sendBytes } from './sending.ts'
import { servedType } from './served-types.ts'

/** Tags that one push may set; more is 414, as OCI distribution-spec "Pushing manifests" has it. */
const maxTagParameters = 100
/** What is set aside at first for a manifest that does not say how long it is. */
const firstPieceBytes = 16 * 1024

/** OCI distribution-spec "Pulling manifests", "Pushing manifests" and "Deleting manifests". */
export function createManifestEndpoint(
  { manifests, tags }: Registry,
  options: EmbeddedOptions,
): Endpoint<'manifest'> {
  const { requireDue, ifDue } = createConditions(manifests)
  return {
    async GET(exchange, route) {
      requireKnowable(route)
      sendManifest(exchange, route, await manifests.get(route.name, route.reference))
    },
    async HEAD(exchange, route) {
      requireKnowable(route)
      // Its answer may keep the client from pushing the manifest.
      sendManifest(exchange, route, await manifests.promise(route.name, route.reference))
    },
    async PUT(exchange, route) {
      const { name, reference } = route
      const target = pushTarget(exchange, reference)
      const mediaType = bareMediaType(exchange.req.headers['content-type'])
      await manifests.admit()
      await requireDue(exchange, route)
      const content = await receiveManifest(exchange, options)
      const push = { ...target, mediaType, content }
      const { digest, subject } = await ifDue(exchange, route, () => manifests.put(name, push))
      sendEmpty(exchange, 201, [
        ...['Location', locationOf(`/v2/${name}/manifests/${digest}`, exchange, options)],
        ...['Docker-Content-Digest', digest],
        ...(subject === undefined ? [] : ['OCI-Subject', subject]),
        // One by which it was pushed says so itself; these came as parameters.
        ...(target.digest === undefined ? [] : target.tags.flatMap((tag) => ['OCI-Tag', tag])),
      ])
    },
    async DELETE(exchange, route) {
      const { name, reference } = route
      requireKnowable(route)
      await ifDue(exchange, route, () =>
        isDigest(reference) ? manifests.delete(name, reference) : tags.delete(name, reference),
      )
      sendEmpty(exchange, 202, [])
    },
  }
}

/** Nothing is ever stored under a digest that could not be verified. @throws MANIFEST_UNKNOWN */
function requireKnowable({ reference }: RouteOf<'manifest'>): void {
  if (isDigest(reference) && !isVerifiable(reference))
    throw new RegistryError('MANIFEST_UNKNOWN', { reference })
}

/**
 * No `Cache-Control`: a tag may mean something else the next moment, and what was deleted must be gone
 * for browsers too. With the entity tag, asking again costs next to nothing.
 */
function sendManifest(
  exchange: RoutedExchange,
  { reference }: RouteOf<'manifest'>,
  manifest: Manifest,
): void {
  const digest = isDigest(reference) ? reference : manifest.digest
  requireMatch(exchange.req, digest)
  const identity = ['Docker-Content-Digest', digest, 'ETag', entityTag(digest)]
  if (isKnownToClient(exchange.req, digest)) {
    sendReply(exchange, { status: 304, headers: [...exchange.headers(), ...identity] })
    return
  }
  const headers = ['Content-Type', servedType(manifest.mediaType), ...identity]
  sendBytes(exchange, { status: 200, headers }, manifest.content)
}

/** What a push is to set. @throws DIGEST_INVALID, TAG_INVALID, TOO_MANY_TAGS, REQUEST_INVALID */
function pushTarget(
  { req }: RoutedExchange,
  reference: Tag | Digest,
): { readonly digest: Digest | undefined; readonly tags: readonly Tag[] } {
  const parameters = parseQuery(req.url ?? '').all('tag')
  if (isDigest(reference)) {
    if (parameters.length > maxTagParameters)
      throw new RegistryError('TOO_MANY_TAGS', { maxTags: maxTagParameters })
    return { digest: requireVerifiable(reference), tags: parameters.map(parseTag) }
  }
  // The specification knows the parameter for pushes by digest; to ignore it would be to lose a tag.
  if (parameters.length > 0) {
    const reason = 'the parameter tag is for a push by digest'
    throw new RegistryError('REQUEST_INVALID', { reason })
  }
  return { digest: undefined, tags: [reference] }
}

/** OCI distribution-spec "Pushing manifests": parameters of the media type are ignored. */
function bareMediaType(contentType: string | undefined): string | undefined {
  return contentType?.replace(/;.*$/s, '').trim() || undefined
}

/** The whole manifest. @throws MANIFEST_INVALID, MANIFEST_TOO_LARGE, and what a body throws */
async function receiveManifest(
  exchange: RoutedExchange,
  options: EmbeddedOptions,
): Promise<Buffer> {
  const length = bodyLength(exchange.req)
  if (length === 0) throw new RegistryError('MANIFEST_INVALID', { reason: 'the manifest is empty' })
  if (length !== undefined) requireFitting(length, options)
  using body = createRequestBody(exchange, options)
  body.accept()
  return await readAll(body, length, options)
}

/** One byte more than there may be is room enough to see that there are too many. */
async function readAll(
  source: ByteSource,
  length: number | undefined,
  options: EmbeddedOptions,
): Promise<Buffer> {
  const most = options.maxManifestBytes + 1
  let buffer = Buffer.allocUnsafeSlow(length ?? Math.min(firstPieceBytes, most))
  for (let end = 0; ; ) {
    const bytes = await source.fill(buffer.subarray(end))
    end += bytes
    requireFitting(end, options)
    if (end === length) return buffer
    if (bytes === 0) return Buffer.from(buffer.subarray(0, end))
    if (end === buffer.length) {
      const larger = Buffer.allocUnsafeSlow(Math.min(end * 2, most))
      buffer.copy(larger)
      buffer = larger
    }
  }
}

function requireFitting(bytes: number, { maxManifestBytes }: EmbeddedOptions): void {
  if (bytes > maxManifestBytes) throw new RegistryError('MANIFEST_TOO_LARGE', { maxManifestBytes })
}

import { type Digest, isDigest, parseDigest } from '../lib/digest.ts'
import { RegistryError } from '../lib/errors.ts'
import {
  isUploadId,
  parseRepoName,
  parseTag,
  type RepoName,
  type Tag,
  type UploadId,
} from '../lib/names.ts'

/** What a request target means. Everything a rule may look at is here; nothing looks at the path again. */
export type Route =
  | { readonly kind: 'base' }
  | { readonly kind: 'catalog' }
  | { readonly kind: 'tags'; readonly name: RepoName }
  | { readonly kind: 'manifest'; readonly name: RepoName; readonly reference: Tag | Digest }
  | { readonly kind: 'blob'; readonly name: RepoName; readonly digest: Digest }
  | { readonly kind: 'uploads'; readonly name: RepoName }
  | { readonly kind: 'upload'; readonly name: RepoName; readonly id: UploadId }
  | { readonly kind: 'referrers'; readonly name: RepoName; readonly digest: Digest }
  | { readonly kind: 'extension' }
  | { readonly kind: 'local'; readonly path: string }

/**
 * Methods of each kind of route: the endpoints of OCI distribution-spec "API", and of the `_`
 * extension namespace. A verb that is not listed is 405; a kind that nobody decided does not compile.
 */
const methods = {
  base: ['GET', 'HEAD'],
  catalog: ['GET', 'HEAD'],
  tags: ['GET', 'HEAD'],
  manifest: ['GET', 'HEAD', 'PUT', 'DELETE'],
  blob: ['GET', 'HEAD', 'DELETE'],
  uploads: ['POST'],
  upload: ['GET', 'HEAD', 'PATCH', 'PUT', 'DELETE'],
  referrers: ['GET', 'HEAD'],
  extension: ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'],
  local: ['GET', 'HEAD', 'POST'],
} as const satisfies Record<Route['kind'], readonly string[]>

/** The methods that `route` answers to, for 405 and OPTIONS. */
export function methodsOf(route: Route): readonly string[] {
  return methods[route.kind]
}

/**
 * The one meaning of a raw request target (RFC 9112 section 3.2, origin-form). The path is decoded
 * exactly once; whatever could mean different things to us and to the backend is refused: an encoded
 * slash or percent sign, dot segments, empty segments, backslashes, control characters.
 * @throws REQUEST_INVALID, NAME_INVALID, TAG_INVALID, DIGEST_INVALID, NOT_FOUND
 */
export function parseRoute(target: string): Route {
  const path = pathOf(target)
  if (path === '/v2' || path === '/v2/') return { kind: 'base' }
  const segments = path.slice(1).split('/')
  const uploads = path.endsWith('/blobs/uploads/') || path.endsWith('/blobs/uploads')
  if (segments.at(-1) === '') segments.pop()
  const decoded = segments.map(decodeSegment)
  if (decoded.shift() !== 'v2') return { kind: 'local', path: `/${segments.join('/')}` }
  if (uploads) return { kind: 'uploads', name: parseRepoName(decoded.slice(0, -2).join('/')) }
  if (path.endsWith('/')) throw new RegistryError('NOT_FOUND', { path: path.slice(0, 256) })
  return routeOf(decoded, path)
}

/** A request target up to its query. */
export function withoutQuery(target: string): string {
  const query = target.indexOf('?')
  return query === -1 ? target : target.slice(0, query)
}

function pathOf(target: string): string {
  if (!target.startsWith('/')) refuse('only the origin form of a request target is accepted')
  if (target.includes('#')) refuse('a request target has no fragment')
  return withoutQuery(target)
}

function decodeSegment(segment: string): string {
  const decoded = segment.includes('%') ? unescaped(segment) : segment
  if (decoded === '' || decoded === '.' || decoded === '..')
    refuse('the path has an empty or a dot segment')
  if (/[/\\%\p{Cc}]/u.test(decoded))
    refuse('the path hides a slash, percent sign or control character')
  return decoded
}

function unescaped(segment: string): string {
  try {
    return decodeURIComponent(segment)
  } catch {
    refuse('a percent escape in the path is malformed')
  }
}

/** Routes are told apart by their last segments, because a name may contain any of their words. */
function routeOf(segments: readonly string[], path: string): Route {
  const last = segments.at(-1) ?? ''
  const verb = segments.at(-2) ?? ''
  if (segments.length === 1 && last === '_catalog') return { kind: 'catalog' }
  const isUpload = verb === 'uploads' && segments.at(-3) === 'blobs' && isUploadId(last)
  const nameSegments = segments.slice(0, isUpload ? -3 : -2)
  // No component of a name begins with `_`: OCI distribution-spec reserves it for extensions.
  if (nameSegments.some(isReserved)) return { kind: 'extension' }
  const name = (): RepoName => parseRepoName(nameSegments.join('/'))
  if (isUpload) return { kind: 'upload', name: name(), id: last }
  switch (verb === 'tags' ? `tags/${last}` : verb) {
    case 'tags/list':
      return { kind: 'tags', name: name() }
    case 'manifests':
      return { kind: 'manifest', name: name(), reference: parseReference(last) }
    case 'blobs':
      return { kind: 'blob', name: name(), digest: parseDigest(last) }
    case 'referrers':
      return { kind: 'referrers', name: name(), digest: parseDigest(last) }
  }
  if (isReserved(verb) || isReserved(last)) return { kind: 'extension' }
  throw new RegistryError('NOT_FOUND', { path: path.slice(0, 256) })
}

function isReserved(segment: string): boolean {
  return segment.startsWith('_')
}

function parseReference(text: string): Tag | Digest {
  if (isDigest(text)) return text
  return text.includes(':') ? parseDigest(text) : parseTag(text)
}

function refuse(reason: string): never {
  throw new RegistryError('REQUEST_INVALID', { reason })
}

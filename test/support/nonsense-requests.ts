import fc from 'fast-check'
import { digestOf } from '../specification/content.ts'
import { digests, good, layer, repo } from './nonsense-manifests.ts'
import { framing, type NonsenseRequest, requestOf } from './nonsense-request.ts'

const names = fc.constantFrom(
  repo,
  'a',
  'A',
  'a//b',
  '..',
  'a/../b',
  '_x',
  'a'.repeat(300),
  'a%2Fb',
  '%00',
  'é',
  '-',
  'a/_uploads',
  'a/blobs/uploads',
)
const queries = fc
  .array(
    fc.tuple(
      fc.constantFrom(
        'n',
        'last',
        'digest',
        'mount',
        'from',
        'tag',
        'artifactType',
        'digest-algorithm',
        '_state',
        '',
      ),
      fc.oneof(
        fc.constantFrom(
          '0',
          '-1',
          '1',
          '1e9',
          '99999999999999999999',
          '%',
          '%zz',
          '%00',
          '%2e%2e',
          repo,
          good.digest,
          'sha512',
          'sha256',
        ),
        digests.map(encodeAny),
        fc.string().map(encodeAny),
      ),
    ),
    { maxLength: 4 },
  )
  .map((pairs) => (pairs.length === 0 ? '' : `?${pairs.map((pair) => pair.join('=')).join('&')}`))
const headerLines = fc.array(
  fc.oneof(
    fc.constantFrom(
      'Content-Range: 0-4',
      'Content-Range: 5-4',
      'Content-Range: bytes 0-4/5',
      'Content-Range: -1-',
      'Content-Range: 99999999999999999999-0',
      'Range: bytes=0-0',
      'Range: bytes=-1',
      'Range: bytes=5-1',
      'Range: bytes=0-1,3-4',
      'Range: chunks=1-2',
      'Range: bytes=99999999999999999999-',
      'Range: bytes=',
      'If-None-Match: *',
      'If-None-Match: "',
      `If-None-Match: "${layer.digest}"`,
      'If-Range: W/"x"',
      'If-Match: "a", "b"',
      'Expect: 100-continue',
      'Expect: nonsense',
      'Accept: */*',
      'Accept: ;;,,q=',
      'Content-Encoding: gzip',
      'Content-Type: application/x-www-form-urlencoded',
      'Content-Length: 5',
      'Content-Length: 0',
      'Transfer-Encoding: chunked',
      'Authorization: Basic !!!',
      'X-HTTP-Method-Override: DELETE',
    ),
    fc.string({ unit: 'grapheme-ascii', maxLength: 40 }).map((value) => `Range: ${value}`),
    fc.string({ unit: 'grapheme-ascii', maxLength: 40 }).map((value) => `Content-Range: ${value}`),
  ),
  { maxLength: 3 },
)

/** Also for text that has no encoding. */
function encodeAny(value: string): string {
  return encodeURIComponent(value.toWellFormed())
}

/** Requests of any method, path, query and fields, some of them for these upload sessions. */
export function nonsenseRequests(sessions: readonly string[]): fc.Arbitrary<NonsenseRequest> {
  const endpoints = fc.oneof(
    fc.constantFrom(
      '/v2/',
      '/v2',
      '/v2/_catalog',
      '/v2/_x/y',
      '/',
      '/healthz',
      '/readyz',
      '*',
      '//',
      '/v2/../v2/',
    ),
    fc
      .tuple(
        names,
        fc.constantFrom(
          'tags/list',
          'manifests/good',
          `manifests/${digestOf('no')}`,
          `blobs/${layer.digest}`,
          'blobs/uploads/',
          'blobs/uploads',
          `blobs/uploads/${'0'.repeat(36)}`,
          `referrers/${good.digest}`,
          'manifests/',
          'blobs/x/y',
        ),
      )
      .map(([name, rest]) => `/v2/${name}/${rest}`),
    fc
      .tuple(
        fc.constantFrom('manifests', 'blobs', 'referrers', 'blobs/uploads'),
        digests.map(encodeAny),
      )
      .map(([kind, digest]) => `/v2/${repo}/${kind}/${digest}`),
    fc.constantFrom(...sessions),
    fc
      .string({ unit: 'grapheme-ascii', maxLength: 40 })
      .map((path) => `/v2/${path.replaceAll(' ', '+')}`),
  )
  return (
    fc
      .record({
        method: fc.constantFrom(
          'GET',
          'HEAD',
          'PUT',
          'POST',
          'PATCH',
          'DELETE',
          'OPTIONS',
          'TRACE',
          'PROPFIND',
        ),
        path: endpoints,
        query: queries,
        headers: headerLines,
        body: fc.oneof(
          fc.constant(Buffer.alloc(0)),
          fc.constant(Buffer.from('5\r\nhello\r\n0\r\n\r\n')),
          fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
        ),
      })
      // What keeps the good image whole is not deleted.
      .filter(
        ({ method, path }) =>
          method !== 'DELETE' || !(path.includes('good') || path.includes(layer.digest)),
      )
      .map(({ method, path, query, headers, body }) => ({
        method,
        request: requestOf(method, path + query, { headers, body }),
        isWhole: !headers.some((line) => framing.test(line)),
      }))
  )
}

import test from 'ava'
import fc from 'fast-check'
import { parseResponseHead } from '../../../src/relay/response-head.ts'
import { responseHeadersFor } from '../../../src/relay/response-headers.ts'

const publicOrigin = 'https://registry.example:8443'
const own = [
  ...[
    'X-Request-Id',
    'id-1',
    'Access-Control-Allow-Origin',
    'https://ui.example',
    'Vary',
    'Origin',
  ],
  ...['Docker-Distribution-Api-Version', 'registry/2.0'],
]

function rewritten(
  lines: readonly string[],
  status = 200,
  front: readonly string[] = own,
): string[] {
  const head = parseResponseHead([`HTTP/1.1 ${status} X`, ...lines].join('\r\n'), 'HEAD')
  return responseHeadersFor(head, {
    publicOrigin,
    absoluteOrigin: publicOrigin,
    requestTarget: '/v2/a/blobs/uploads/',
    isOurs: (place) => place === 'registry:5000' || place === 'registry',
    isUpstream: (place) => place === 'registry:5000',
    own: front,
  })
}

const valuesOf = (headers: readonly string[], name: string): string[] =>
  headers.filter((_, index) => index % 2 === 1 && headers[index - 1]?.toLowerCase() === name)

for (const name of [
  ...['Keep-Alive', 'Proxy-Authenticate', 'Proxy-Authentication-Info', 'Proxy-Connection', 'TE'],
  ...['Trailer', 'Upgrade', 'connection', 'Proxy-Authorization'],
  ...['Access-Control-Allow-Origin', 'access-control-allow-credentials', 'Access-Control-Anything'],
  ...[
    'Access-Control-Expose-Headers',
    'ACCESS-CONTROL-MAX-AGE',
    'Access-Control-Allow-Private-Network',
  ],
]) {
  test(`response headers: the upstream's ${name} does not reach the client`, (t) => {
    t.deepEqual(rewritten([`${name}: x`, `${name}: y`], 200, []), [])
  })
}

test('response headers: Transfer-Encoding is of one hop only', (t) => {
  t.deepEqual(rewritten(['Transfer-Encoding: chunked'], 200, []), [])
})

test('response headers: what Connection lists stays behind', (t) => {
  t.deepEqual(rewritten(['Connection: X-a, close', 'x-A: 1', 'X-B: 2'], 200, []), ['X-B', '2'])
})

test('response headers: lengths, digests and types pass in order and spelling', (t) => {
  const lines = [
    ...['Content-Length: 1234', 'content-TYPE: application/vnd.oci.image.index.v1+json'],
    ...['Docker-Content-Digest: sha256:abc', 'Etag: "sha256:abc"', 'Content-Range: bytes 0-1/2'],
    ...['Accept-Ranges: bytes', 'Cache-Control: max-age=31536000', 'Warning: 299 - "d\xe9j\xe0"'],
    ...['Content-Encoding: gzip', 'Range: 0-12', 'Docker-Upload-Uuid: u', 'Date: x', 'Server: y'],
  ]
  const expected = lines.flatMap((line) => [
    line.slice(0, line.indexOf(':')),
    line.slice(line.indexOf(':') + 2),
  ])
  t.deepEqual(rewritten(lines, 200, []), expected)
})

test('response headers: several Set-Cookie stay several', (t) => {
  const headers = rewritten(['Set-Cookie: a=1', 'set-cookie: b=2, c'])
  t.deepEqual(valuesOf(headers, 'set-cookie'), ['a=1', 'b=2, c'])
})

test('response headers: the API version is there exactly once, whatever the upstream sent', (t) => {
  for (const lines of [
    [],
    ['docker-distribution-api-version: registry/2.0'],
    Array(3).fill('Docker-Distribution-API-Version: registry/1.0'),
  ]) {
    t.deepEqual(valuesOf(rewritten(lines), 'docker-distribution-api-version'), ['registry/2.0'])
  }
})

test("response headers: the front's word on CORS and the request id is the only one", (t) => {
  const headers = rewritten(['Access-Control-Allow-Origin: *', 'x-request-ID: theirs'])
  t.deepEqual(valuesOf(headers, 'access-control-allow-origin'), ['https://ui.example'])
  t.deepEqual(valuesOf(headers, 'x-request-id'), ['id-1'])
})

test('response headers: Vary is kept from both', (t) => {
  const headers = rewritten(['Vary: Accept', 'vary: Cookie'])
  t.deepEqual(valuesOf(headers, 'vary'), ['Accept', 'Cookie', 'Origin'])
})

test('response headers: Location, Content-Location, Link and realm lead to where the client is', (t) => {
  const headers = rewritten(
    [
      'Location: http://registry:5000/v2/a/blobs/uploads/u?_state=%3D',
      'Content-Location: http://registry:5000/v2/a',
      'Link: </v2/_catalog?n=1>; rel="next"',
      'Www-Authenticate: Bearer realm="http://registry:5000/token",service="s"',
      'Www-Authenticate: Bearer realm="https://auth.example/token",service="s"',
      'X-Other: http://registry:5000/v2/',
    ],
    202,
    [],
  )
  t.deepEqual(headers, [
    ...['Location', `${publicOrigin}/v2/a/blobs/uploads/u?_state=%3D`],
    ...['Content-Location', `${publicOrigin}/v2/a`],
    ...['Link', `<${publicOrigin}/v2/_catalog?n=1>; rel="next"`],
    ...['Www-Authenticate', `Bearer realm="${publicOrigin}/token",service="s"`],
    ...['Www-Authenticate', 'Bearer realm="https://auth.example/token",service="s"'],
    ...['X-Other', 'http://registry:5000/v2/'],
  ])
})

test('response headers: whatever the upstream sends, nothing of ours is said twice', (t) => {
  const names = [
    'vary',
    'access-control-allow-origin',
    'x-request-id',
    'docker-distribution-api-version',
    'etag',
    'connection',
  ]
  const line = fc.tuple(fc.constantFrom(...names), fc.boolean(), fc.stringMatching(/^[a-z-]{0,8}$/))
  fc.assert(
    fc.property(fc.array(line), (fields) => {
      const lines = fields.map(
        ([name, upper, value]) => `${upper ? name.toUpperCase() : name}: ${value}`,
      )
      const headers = rewritten(lines)
      for (const name of names.slice(1, 4)) t.is(valuesOf(headers, name).length, 1, name)
      t.is(valuesOf(headers, 'vary').at(-1), 'Origin')
      t.deepEqual(valuesOf(headers, 'connection'), [])
    }),
  )
})

import test from 'ava'
import fc from 'fast-check'
import {
  hostnameOf,
  type LocationContext,
  placeOf,
  rewriteLocation,
} from '../../../src/relay/location.ts'

const state = 'b64-_~.x%3D%3d%2B+=&digest=sha256%3Aabc'
const upload = `/v2/team/app/blobs/uploads/0a-1b?_state=${state}`

/** A client at `https://registry.example:8443`, an upstream at `http://registry:5000`. */
const ours = [...['registry', 'registry:5000', 'registry.example', 'registry.example:8443']]
const context: LocationContext = {
  publicOrigin: 'https://registry.example:8443',
  requestTarget: '/v2/team/app/blobs/uploads/?digest=x%2Fy',
  isOurs: (place) => ours.includes(place),
}
const relative: LocationContext = { ...context, publicOrigin: undefined }

for (const [what, prefix] of [
  ['the right answer', 'https://registry.example:8443'],
  ['our host without its port', 'https://registry.example'],
  ['our host on a wrong port', 'https://registry.example:443'],
  ['http in place of https', 'http://registry.example:8443'],
  ['http and no port', 'http://registry.example'],
  ["the upstream's own name", 'http://registry:5000'],
  ["the upstream's own name without its port", 'http://registry'],
  ['an address', 'http://127.0.0.1:5000'],
  ['an IPv6 address', 'http://[::1]:5000'],
  ['localhost', 'http://localhost'],
  ['a wrong REGISTRY_HTTP_HOST', 'https://wrong.example'],
  ['a wrong http.host with a path of its own', 'https://wrong.example/some/path'],
  ['upper-case scheme and host', 'HTTPS://REGISTRY.EXAMPLE:8443'],
  ['credentials in the authority', 'http://user:secret@registry:5000'],
  ['a name without a scheme', '//registry:5000'],
  ['an empty authority', 'http://'],
  ['a bare path', ''],
] as const) {
  test(`location: a 201 or 202 with ${what} leads to where the client is, _state byte for byte`, (t) => {
    for (const status of [201, 202, 204]) {
      t.is(rewriteLocation(prefix + upload, status, context), context.publicOrigin + upload)
      t.is(rewriteLocation(prefix + upload, status, relative), upload)
    }
  })
}

for (const [what, location] of [
  [
    'an object store',
    'https://bucket.s3.example/docker/registry/v2/blobs/sha256/ab/x/data?X-Amz-Signature=a%2Fb',
  ],
  [
    'an object store on another port of our own host',
    'http://registry.example:9000/bucket/docker/registry/v2/blobs/sha256/ab/x/data?sig=a%2Fb',
  ],
  [
    "an object store on another port of the upstream's host",
    'http://registry:9000/docker/registry/v2/blobs/sha256/ab/x/data?sig=1',
  ],
  [
    'an object store on the default port of our host',
    'https://registry.example/bucket/docker/registry/v2/blobs/x',
  ],
  ['another registry', 'https://mirror.example/v2/team/app/blobs/sha256:abc'],
  ['a scheme-relative place', '//cdn.example/x'],
  ['an address with credentials', 'https://registry:x@evil.example/v2/'],
  ['a name that begins like ours', 'https://registry.example.evil.example/v2/x'],
  ['a name that ends like ours', 'https://evil-registry.example/v2/x'],
  ['another scheme', 'ftp://registry:5000/v2/x'],
] as const) {
  test(`location: a redirect to ${what} is not touched`, (t) => {
    for (const status of [301, 302, 303, 307, 308]) {
      t.is(rewriteLocation(location, status, context), location)
    }
  })
}

for (const [what, location, expected] of [
  ['the upstream', 'http://registry:5000/v2/a/blobs/x?y=%2F', '/v2/a/blobs/x?y=%2F'],
  ['the upstream without its port', 'http://registry/v2/a/blobs/x', '/v2/a/blobs/x'],
  ['ourselves', 'https://registry.example:8443/v2/a/blobs/x', '/v2/a/blobs/x'],
  ['ourselves with the wrong scheme', 'http://registry.example:8443/v2/', '/v2/'],
  ['ourselves without a port', 'https://registry.example/v2/', '/v2/'],
  ['the upstream, outside the API', 'http://registry:5000/token?next=/v2/x', '/token?next=/v2/x'],
  ['the upstream and nothing else', 'http://registry:5000', '/'],
  ['a path', '/v2/', '/v2/'],
  ['a path with a query', '/v2/a?b=c%2Fd', '/v2/a?b=c%2Fd'],
] as const) {
  test(`location: a redirect to ${what} leads to where the client is`, (t) => {
    t.is(rewriteLocation(location, 307, context), context.publicOrigin + expected)
    t.is(rewriteLocation(location, 307, relative), expected)
  })
}

for (const [what, location, expected] of [
  ['a name beside the request', 'x?_state=%3D', '/v2/team/app/blobs/uploads/x?_state=%3D'],
  ['a name with a dot before it', './x', '/v2/team/app/blobs/uploads/x'],
  ['a name above the request', '../x', '/v2/team/app/blobs/x'],
  ['a query alone', '?_state=a%2Fb', '/v2/team/app/blobs/uploads/?_state=a%2Fb'],
] as const) {
  test(`location: ${what} is resolved against the request`, (t) => {
    t.is(rewriteLocation(location, 202, context), context.publicOrigin + expected)
  })
}

test('location: IPv6 authorities have their host and port told apart', (t) => {
  t.is(hostnameOf('[::1]:5000'), '[::1]')
  t.is(hostnameOf('[::1]'), '[::1]')
  t.is(placeOf('http', '[::1]'), '[::1]:80')
  t.is(placeOf('https', '[::1]:5000'), '[::1]:5000')
  t.is(placeOf('HTTPS', 'Registry.Example'), 'registry.example:443')
})

for (const location of [
  ...[
    '/\\evil.example/v2/',
    '\\\\evil.example/v2/',
    '//evil.example\\v2/',
    'http:\\\\evil.example/v2/',
  ],
  ...[
    'http://evil.example\\@registry/v2/x',
    'http:/\\evil.example',
    '/\\/evil.example',
    '\\/evil.example',
  ],
  ...[
    'javascript:alert(1)',
    'data:.evil.example/v2/',
    'x:@evil.example/v2/',
    'mailto:a@evil.example',
  ],
  ...[
    'http:evil.example',
    'http:/evil.example/v2/',
    'https:evil.example',
    ':8443/v2/',
    '@evil.example/v2/',
  ],
  ...[
    '.evil.example/v2/',
    'http://registry:5000//evil.example/',
    'http://registry:5000/\\evil.example/',
  ],
  ...[
    '//registry:5000//evil.example',
    ' //evil.example/',
    '',
    '#',
    '?',
    '.',
    '..',
    '/..//evil.example',
  ],
]) {
  test(`location: ${JSON.stringify(location)} of a 201 leads nowhere but to us`, (t) => {
    const absolute = rewriteLocation(location, 201, context)
    t.is(URL.parse(absolute)?.origin, context.publicOrigin, absolute)
    t.true(absolute.startsWith(`${context.publicOrigin}/`), absolute)
    const path = rewriteLocation(location, 201, relative)
    t.is(URL.parse(path, 'https://client.example/v2/')?.origin, 'https://client.example', path)
  })
}

const segment = fc.stringMatching(/^[a-zA-Z0-9._~%+=:@!$&'()*,;-]{1,12}$/)
const apiPath = fc
  .tuple(fc.array(segment, { maxLength: 5 }), fc.option(fc.stringMatching(/^[\x21-\x7e]{0,40}$/)))
  .map(([segments, query]) => {
    const path = ['/v2', ...segments].join('/')
    return query === null ? `${path}/` : `${path}/?${query.replaceAll('\\', '/')}`
  })
const place = fc.oneof(
  fc.constantFrom('', 'http://registry:5000', 'http://registry', 'https://registry.example', '//x'),
  fc
    .tuple(fc.constantFrom('http', 'https', 'HTTP'), fc.webAuthority())
    .map((parts) => parts.join('://')),
  fc.constant('https://registry.example:8443'),
)

test('location: of a 201 or 202, path and query stay byte for byte, and twice is once', (t) => {
  fc.assert(
    fc.property(place, apiPath, fc.constantFrom(201, 202, 204), (before, path, status) => {
      const once = rewriteLocation(before + path, status, context)
      t.is(once, context.publicOrigin + path)
      t.is(rewriteLocation(once, status, context), once)
      t.is(rewriteLocation(before + path, status, relative), path)
    }),
  )
})

test('location: whatever a 201 or 202 names, it leads to us', (t) => {
  const anything = fc.oneof(
    fc.stringMatching(/^[\x21-\x7e]{0,30}$/),
    fc
      .array(
        fc.constantFrom(
          '/',
          '\\',
          ':',
          '@',
          'http:',
          'v2',
          '.',
          '..',
          '?',
          '#',
          'evil.example',
          '%2f',
          '//',
        ),
        { maxLength: 8 },
      )
      .map((parts) => parts.join('')),
    fc.webUrl(),
  )
  fc.assert(
    fc.property(anything, fc.constantFrom(201, 202), (location, status) => {
      const once = rewriteLocation(location, status, context)
      t.true(once.startsWith(`${context.publicOrigin}/`), `${location} -> ${once}`)
      const path = rewriteLocation(location, status, relative)
      t.is(URL.parse(path, 'https://client.example/v2/')?.origin, 'https://client.example', path)
    }),
    { numRuns: 1000 },
  )
})

test('location: whatever a redirect names, it leads to where it did or to us', (t) => {
  fc.assert(
    fc.property(fc.webUrl({ withQueryParameters: true }), (location) => {
      t.is(rewriteLocation(location, 307, context), location)
    }),
  )
})

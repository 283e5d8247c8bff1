import test, { type ExecutionContext } from 'ava'
import fc from 'fast-check'
import { methodsOf, parseRoute } from '../../../src/http/route.ts'
import { type ErrorCode, RegistryError } from '../../../src/lib/errors.ts'

const sha256 = `sha256:${'0123456789abcdef'.repeat(4)}`

function throwsCode(t: ExecutionContext, target: string, code?: ErrorCode): void {
  const error = t.throws(() => parseRoute(target), { instanceOf: RegistryError }, target)
  if (code !== undefined) t.is(error?.code, code, target)
}

for (const [target, expected] of [
  ['/v2/', { kind: 'base' }],
  ['/v2', { kind: 'base' }],
  ['/v2/?a=b', { kind: 'base' }],
  ['/v2/_catalog', { kind: 'catalog' }],
  ['/v2/_catalog?n=100&last=a%2Fb', { kind: 'catalog' }],
  ['/v2/app/tags/list', { kind: 'tags', name: 'app' }],
  ['/v2/app/tags/list?n=1', { kind: 'tags', name: 'app' }],
  ['/v2/team/app/manifests/latest', { kind: 'manifest', name: 'team/app', reference: 'latest' }],
  ['/v2/app/manifests/_catalog', { kind: 'manifest', name: 'app', reference: '_catalog' }],
  [`/v2/app/manifests/${sha256}`, { kind: 'manifest', name: 'app', reference: sha256 }],
  [`/v2/app/blobs/${sha256}`, { kind: 'blob', name: 'app', digest: sha256 }],
  [`/v2/app/blobs/${sha256.replace(':', '%3A')}`, { kind: 'blob', name: 'app', digest: sha256 }],
  [
    `/v2/app/blobs/${sha256.replace(':', '%3a')}?ns=docker.io`,
    { kind: 'blob', name: 'app', digest: sha256 },
  ],
  ['/v2/app/blobs/uploads/', { kind: 'uploads', name: 'app' }],
  ['/v2/app/blobs/uploads', { kind: 'uploads', name: 'app' }],
  [`/v2/app/blobs/uploads/?mount=${sha256}&from=a/b`, { kind: 'uploads', name: 'app' }],
  ['/v2/app/blobs/uploads/0a-1b_2.3=', { kind: 'upload', name: 'app', id: '0a-1b_2.3=' }],
  ['/v2/app/blobs/uploads/u?_state=%2F%00//..', { kind: 'upload', name: 'app', id: 'u' }],
  [
    `/v2/app/referrers/${sha256}?artifactType=a%2Fb`,
    { kind: 'referrers', name: 'app', digest: sha256 },
  ],
  // Names may contain every word of the API.
  ['/v2/blobs/blobs/uploads/', { kind: 'uploads', name: 'blobs' }],
  ['/v2/a/blobs/uploads/tags/list', { kind: 'tags', name: 'a/blobs/uploads' }],
  [
    '/v2/blobs/uploads/manifests/latest',
    { kind: 'manifest', name: 'blobs/uploads', reference: 'latest' },
  ],
  ['/v2/tags/list/tags/list', { kind: 'tags', name: 'tags/list' }],
  [
    '/v2/manifests/manifests/manifests',
    { kind: 'manifest', name: 'manifests', reference: 'manifests' },
  ],
  ['/v2/a/manifests/blobs/uploads/', { kind: 'uploads', name: 'a/manifests' }],
  ['/v2/blobs/uploads/blobs/uploads/u', { kind: 'upload', name: 'blobs/uploads', id: 'u' }],
  ['/v2/v2/tags/list', { kind: 'tags', name: 'v2' }],
  ['/v2/referrers/tags/list', { kind: 'tags', name: 'referrers' }],
  ['/v2/_oci/ext/discover', { kind: 'extension' }],
  ['/v2/app/_trivy/scan', { kind: 'extension' }],
  ['/v2/_app/manifests/latest', { kind: 'extension' }],
  ['/', { kind: 'local', path: '/' }],
  ['/?a', { kind: 'local', path: '/' }],
  ['/healthz', { kind: 'local', path: '/healthz' }],
  ['/readyz?verbose', { kind: 'local', path: '/readyz' }],
  ['/favicon.ico', { kind: 'local', path: '/favicon.ico' }],
  ['/v1/search', { kind: 'local', path: '/v1/search' }],
  ['/v20/', { kind: 'local', path: '/v20' }],
] as const) {
  test(`route: ${target} is ${expected.kind}`, (t) => {
    t.deepEqual<unknown, unknown>(parseRoute(target), expected)
  })
}

for (const target of [
  ...['/v2/a%2Fb/tags/list', '/v2/a%2fb/manifests/x', '/v2/a%5Cb/tags/list', '/v2/a\\b/tags/list'],
  ...[
    '/v2/a%252Fb/tags/list',
    '/v2/a%25/tags/list',
    '/v2/a/manifests/x%00',
    '/v2/a/manifests/x%0a',
  ],
  ...['/v2/a/manifests/x%0D%0AHost:%20b', '/v2/a/manifests/x%7F', '/v2/a/manifests/%C2%85'],
  ...['/v2/./tags/list', '/v2/../v2/_catalog', '/v2/a/../b/tags/list', '/v2/a/%2e%2e/tags/list'],
  ...['/v2/a/.%2E/tags/list', '/v2/%2e/tags/list', '/v2/a/./manifests/x', '/../v2/', '/./healthz'],
  ...[
    '/v2//tags/list',
    '//v2/',
    '//',
    '/v2//',
    '/v2/a//manifests/x',
    '/v2/a/tags/list//',
    '//evil.example/v2/',
  ],
  ...[
    '/v2/%',
    '/v2/%2',
    '/v2/%zz/tags/list',
    '/v2/%C3/tags/list',
    '/v2/%C0%AF/tags/list',
    '/v2/%ED%A0%80/x',
  ],
  ...[
    '',
    'v2/',
    '*',
    'http://registry.example/v2/',
    'https://registry:5000/v2/_catalog',
    'registry:443',
  ],
  ...['?x', '#', '/v2/#', '/v2/a/tags/list#x', '/v2/a/tags/list?n=1#x', '/healthz#'],
]) {
  test(`route: ${JSON.stringify(target)} could mean two things and is refused`, (t) => {
    throwsCode(t, target, 'REQUEST_INVALID')
  })
}

for (const [target, code] of [
  ['/v2/App/tags/list', 'NAME_INVALID'],
  ['/v2/tags/list', 'NAME_INVALID'],
  ['/v2/blobs/uploads/', 'NAME_INVALID'],
  ['/v2/manifests/latest', 'NAME_INVALID'],
  ['/v2/-a/tags/list', 'NAME_INVALID'],
  ['/v2/a..b/tags/list', 'NAME_INVALID'],
  ['/v2/a;x/tags/list', 'NAME_INVALID'],
  ['/v2/%20/tags/list', 'NAME_INVALID'],
  ['/v2/%C3%A9/tags/list', 'NAME_INVALID'],
  [`/v2/${'a'.repeat(256)}/tags/list`, 'NAME_INVALID'],
  ['/v2/a/manifests/.x', 'TAG_INVALID'],
  ['/v2/a/manifests/-x', 'TAG_INVALID'],
  [`/v2/a/manifests/${'x'.repeat(129)}`, 'TAG_INVALID'],
  ['/v2/a/manifests/a%20b', 'TAG_INVALID'],
  ['/v2/a/manifests/sha256:abc', 'DIGEST_INVALID'],
  ['/v2/a/manifests/x:y:z', 'DIGEST_INVALID'],
  ['/v2/a/blobs/latest', 'DIGEST_INVALID'],
  [`/v2/a/blobs/${sha256.toUpperCase()}`, 'DIGEST_INVALID'],
  ['/v2/a/referrers/latest', 'DIGEST_INVALID'],
  ['/v2/a', 'NOT_FOUND'],
  ['/v2/a/', 'NOT_FOUND'],
  ['/v2/a/b/c', 'NOT_FOUND'],
  ['/v2/a/tags', 'NOT_FOUND'],
  ['/v2/a/tags/other', 'NOT_FOUND'],
  ['/v2/a/tags/list/', 'NOT_FOUND'],
  ['/v2/a/manifests/', 'NOT_FOUND'],
  ['/v2/a/manifests/latest/', 'NOT_FOUND'],
  ['/v2/_catalog/', 'NOT_FOUND'],
  ['/v2/a/blobs/uploads/a%20b', 'NOT_FOUND'],
  [`/v2/a/blobs/uploads/${'u'.repeat(257)}`, 'NOT_FOUND'],
] as const) {
  test(`route: ${target.slice(0, 40)} is ${code}`, (t) => throwsCode(t, target, code))
}

const component = fc.oneof(
  fc.constantFrom('blobs', 'uploads', 'manifests', 'tags', 'list', 'referrers', 'v2', 'latest'),
  fc.stringMatching(/^[a-z0-9]{1,6}(?:(?:\.|_|__|-{1,3})[a-z0-9]{1,6}){0,2}$/),
)
const name = fc.array(component, { minLength: 1, maxLength: 5 }).map((parts) => parts.join('/'))
const tag = fc.stringMatching(/^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,20}$/)
const digest = fc.oneof(
  fc.stringMatching(/^[0-9a-f]{64}$/).map((hex) => `sha256:${hex}`),
  fc.stringMatching(/^[0-9a-f]{128}$/).map((hex) => `sha512:${hex}`),
)
const query = fc.oneof(
  fc.constant(''),
  fc.stringMatching(/^[!-"$-~]{0,20}$/).map((text) => `?${text}`),
)

test('route: every valid name, tag, digest and upload id comes back as it went in', (t) => {
  const id = fc
    .stringMatching(/^[a-zA-Z0-9_.=-]{1,40}$/)
    .filter((text) => text !== '.' && text !== '..')
  fc.assert(
    fc.property(name, tag, digest, id, query, (repository, reference, hash, upload, after) => {
      const of = (path: string): unknown => parseRoute(`/v2/${repository}/${path}${after}`)
      t.deepEqual(of('tags/list'), { kind: 'tags', name: repository })
      t.deepEqual(of(`manifests/${reference}`), { kind: 'manifest', name: repository, reference })
      t.deepEqual(of(`manifests/${hash}`), { kind: 'manifest', name: repository, reference: hash })
      t.deepEqual(of(`blobs/${hash}`), { kind: 'blob', name: repository, digest: hash })
      t.deepEqual(of(`referrers/${hash}`), { kind: 'referrers', name: repository, digest: hash })
      t.deepEqual(of('blobs/uploads/'), { kind: 'uploads', name: repository })
      t.deepEqual(of(`blobs/uploads/${upload}`), { kind: 'upload', name: repository, id: upload })
    }),
  )
})

test('route: escaping the harmless characters of a path changes nothing', (t) => {
  const escaped = (text: string, mask: number): string =>
    [...text]
      .map((char, index) =>
        char === '/' || (mask >> (index % 30)) % 2 === 0
          ? char
          : `%${char.charCodeAt(0).toString(16)}`,
      )
      .join('')
  fc.assert(
    fc.property(name, tag, digest, fc.nat(2 ** 30 - 1), (repository, reference, hash, mask) => {
      for (const path of [
        `manifests/${reference}`,
        `manifests/${hash}`,
        `blobs/${hash}`,
        'tags/list',
      ]) {
        const plain = `${repository}/${path}`
        t.deepEqual(parseRoute(`/v2/${escaped(plain, mask)}`), parseRoute(`/v2/${plain}`))
      }
    }),
  )
})

test('route: any target at all has one meaning, or an error that clients may see', (t) => {
  const piece = fc.constantFrom(
    ...[
      '/',
      '//',
      '.',
      '..',
      '%2F',
      '%5c',
      '%00',
      '%25',
      '%',
      '\\',
      '?',
      '#',
      ':',
      '@',
      'v2',
      '_',
      'a',
    ],
    ...['blobs', 'uploads', 'tags', 'list', 'manifests', 'é', '\u2028', sha256, 'http://'],
  )
  const target = fc.oneof(
    fc.string(),
    fc.array(piece, { maxLength: 12 }).map((parts) => parts.join('')),
    fc.array(piece, { maxLength: 12 }).map((parts) => `/v2/${parts.join('')}`),
  )
  fc.assert(
    fc.property(target, (text) => {
      try {
        const route = parseRoute(text)
        if ('name' in route) t.regex(route.name, /^[a-z0-9][a-z0-9._/-]*$/)
        const path = text.replace(/\?.*$/s, '')
        t.notRegex(path, /\\|%2f|%5c|%00|%25|#|\/\/|\/\.\.?(?:\/|$)/i)
      } catch (error) {
        if (!(error instanceof RegistryError)) throw error
        t.true(error.status === 400 || error.status === 404)
      }
    }),
    { numRuns: 1000 },
  )
})

for (const [target, methods] of [
  ['/v2/', ['GET', 'HEAD']],
  ['/v2/_catalog', ['GET', 'HEAD']],
  ['/v2/a/tags/list', ['GET', 'HEAD']],
  ['/v2/a/manifests/x', ['GET', 'HEAD', 'PUT', 'DELETE']],
  [`/v2/a/blobs/${sha256}`, ['GET', 'HEAD', 'DELETE']],
  ['/v2/a/blobs/uploads/', ['POST']],
  ['/v2/a/blobs/uploads/u', ['GET', 'HEAD', 'PATCH', 'PUT', 'DELETE']],
  [`/v2/a/referrers/${sha256}`, ['GET', 'HEAD']],
] as const) {
  test(`route: ${target.slice(0, 24)} answers to ${methods.join(', ')}`, (t) => {
    t.deepEqual([...methodsOf(parseRoute(target))].sort(), [...methods].sort())
  })
}

import type { IncomingHttpHeaders } from 'node:http'
import test from 'ava'
import { createCors } from '../../../src/http/cors.ts'
import { request, startPipeline } from './support.ts'

const ui = 'https://ui.example'
const other = 'http://localhost:3000'
const rules = { origins: [ui, other], credentials: true, maxage: 1_728_000 }
const anyone = { origins: ['*'], credentials: false, maxage: 60 }

const preflight = [
  'Access-Control-Request-Method: DELETE',
  'Access-Control-Request-Headers: authorization',
]

/** Stands for a front with passwords: whoever comes to it is turned away. */
const closed = {
  async authenticate(): Promise<never> {
    const { RegistryError } = await import('../../../src/lib/errors.ts')
    throw new RegistryError('UNAUTHORIZED', undefined, {
      headers: { 'www-authenticate': 'Basic realm="Registry"' },
    })
  },
  async [Symbol.asyncDispose]() {},
}

test('cors: without rules nothing is granted and nothing is said', async (t) => {
  await using front = await startPipeline()
  const answer = await request(front, 'OPTIONS /v2/_catalog', `Origin: ${ui}`, ...preflight)
  const names = Object.keys(answer.headers)
  t.deepEqual(
    names.filter((name) => name.startsWith('access-control') || name === 'vary'),
    [],
  )
})

test('cors: a preflight of an allowed origin is answered before anybody asks who it is', async (t) => {
  await using front = await startPipeline({ cors: createCors(rules), authenticator: closed })
  for (const path of ['/v2/', '/v2/_catalog?n=1', '/v2/a/manifests/latest']) {
    const { status, headers, body } = await request(
      front,
      `OPTIONS ${path}`,
      `Origin: ${ui}`,
      ...preflight,
    )
    t.is(status, 204)
    t.is(body, '')
    t.deepEqual(headers['access-control-allow-origin'], [ui])
    t.deepEqual(headers['access-control-allow-credentials'], ['true'])
    t.deepEqual(headers['access-control-max-age'], ['1728000'])
    t.deepEqual(headers['vary'], ['Origin'])
    const methods = headers['access-control-allow-methods']?.join().split(', ')
    t.true(['GET', 'HEAD', 'OPTIONS', 'DELETE'].every((method) => methods?.includes(method)))
    const allowed = headers['access-control-allow-headers']?.join().toLowerCase().split(', ')
    // What Joxit sends: a long Accept and, on request, Cache-Control.
    t.true(['authorization', 'accept', 'cache-control'].every((name) => allowed?.includes(name)))
    t.is(headers['content-length'], undefined)
  }
  t.deepEqual(front.handled, [])
})

test('cors: a preflight for the token endpoint of the backend is answered here too', async (t) => {
  await using front = await startPipeline({ cors: createCors(rules), tokenPaths: ['/token'] })
  const { status, headers } = await request(
    front,
    'OPTIONS /token?service=x',
    `Origin: ${ui}`,
    ...preflight,
  )
  t.is(status, 204)
  t.deepEqual(headers['access-control-allow-origin'], [ui])
  t.true(headers['access-control-allow-headers']?.join().includes('Authorization'))
  t.deepEqual(front.handled, [])
})

for (const [what, line, headers] of [
  ['of another origin', 'OPTIONS /v2/', ['Origin: https://evil.example', ...preflight]],
  ['of an origin that begins alike', 'OPTIONS /v2/', [`Origin: ${ui}.evil.example`, ...preflight]],
  ['of an origin on another port', 'OPTIONS /v2/', [`Origin: ${ui}:8443`, ...preflight]],
  ['of an origin with another scheme', 'OPTIONS /v2/', ['Origin: http://ui.example', ...preflight]],
  ['of the null origin', 'OPTIONS /v2/', ['Origin: null', ...preflight]],
  ['of two origins', 'OPTIONS /v2/', [`Origin: ${ui}`, `Origin: ${ui}`, ...preflight]],
  ['without an origin', 'OPTIONS /v2/', preflight],
  ['without a requested method', 'OPTIONS /v2/', [`Origin: ${ui}`]],
  ['that is no OPTIONS', 'GET /v2/', [`Origin: ${ui}`, ...preflight]],
] as const) {
  test(`cors: a request like a preflight ${what} has to say who it is`, async (t) => {
    await using front = await startPipeline({ cors: createCors(rules), authenticator: closed })
    const answer = await request(front, line, ...headers)
    t.is(answer.status, 401)
    const allowed = headers.some((header) => header === `Origin: ${ui}`) && !what.includes('two')
    t.deepEqual(answer.headers['access-control-allow-origin'], allowed ? [ui] : undefined)
    t.deepEqual(answer.headers['vary'], ['Origin'])
  })
}

test('cors: errors and answers carry the same headers, each exactly once', async (t) => {
  const handle = async ({
    res,
    headers,
  }: {
    res: import('node:http').ServerResponse
    headers: () => string[]
  }) => void res.writeHead(200, headers()).end('{}')
  for (const parts of [{ handle }, { authenticator: closed }, { maxBodyBytes: -1 }]) {
    await using front = await startPipeline({ cors: createCors(rules), ...parts })
    for (const path of ['/v2/_catalog', '/v2/NAME/tags/list', '/v2/nothing/here']) {
      const { headers } = await request(front, `GET ${path}`, `Origin: ${other}`)
      t.deepEqual(headers['access-control-allow-origin'], [other])
      t.deepEqual(headers['access-control-allow-credentials'], ['true'])
      t.deepEqual(headers['vary'], ['Origin'])
      t.is(headers['access-control-expose-headers']?.length, 1)
    }
  }
})

test('cors: what scripts may read is what registry user interfaces need', (t) => {
  const headers = createCors(rules).headersFor({ origin: ui })
  const exposed = headers[headers.indexOf('Access-Control-Expose-Headers') + 1]?.split(', ') ?? []
  for (const name of [
    ...['Docker-Content-Digest', 'Docker-Distribution-Api-Version', 'Link', 'WWW-Authenticate'],
    ...['Location', 'Range'],
  ]) {
    t.true(exposed.includes(name), name)
  }
})

test('cors: with * everybody is granted, without credentials and without Vary', (t) => {
  const cors = createCors(anyone)
  for (const origin of [ui, 'null', 'https://anything.example']) {
    const headers = cors.headersFor({ origin })
    t.is(headers[headers.indexOf('Access-Control-Allow-Origin') + 1], '*')
    t.false(headers.includes('Access-Control-Allow-Credentials'))
    t.false(headers.includes('Vary'))
  }
  t.deepEqual(cors.headersFor({}), [])
})

test('cors: an answer to somebody else says only that it depends on the origin', (t) => {
  const others: IncomingHttpHeaders[] = [
    {},
    { origin: 'https://evil.example' },
    { origin: '' },
    { origin: 'toString' },
  ]
  for (const headers of others)
    t.deepEqual(createCors(rules).headersFor(headers), ['Vary', 'Origin'])
})

import test from 'ava'
import { RegistryError } from '../../../src/lib/errors.ts'
import { request, sendRaw, startPipeline } from './support.ts'

const closed = {
  async authenticate(): Promise<never> {
    throw new RegistryError('UNAUTHORIZED', undefined, {
      headers: { 'www-authenticate': 'Basic realm="Registry"' },
    })
  },
  async [Symbol.asyncDispose]() {},
}

function errorOf(body: string): {
  code: string
  message: string
  detail?: Record<string, unknown>
} {
  const { errors } = JSON.parse(body)
  if (!Array.isArray(errors) || errors.length !== 1) throw new Error(body)
  return errors[0]
}

test('pipeline: who is not let in gets JSON, the challenge, the API version and a request id', async (t) => {
  await using front = await startPipeline({ authenticator: closed })
  const { status, headers, body } = await request(front, 'GET /v2/')
  t.is(status, 401)
  t.is(errorOf(body).code, 'UNAUTHORIZED')
  t.is(errorOf(body).message, 'authentication required')
  t.deepEqual(headers['content-type'], ['application/json'])
  t.deepEqual(headers['www-authenticate'], ['Basic realm="Registry"'])
  t.deepEqual(headers['docker-distribution-api-version'], ['registry/2.0'])
  t.regex(headers['x-request-id']?.join() ?? '', /^[0-9a-f-]{36}$/)
  t.deepEqual(headers['content-length'], [String(Buffer.byteLength(body))])
  t.deepEqual(front.handled, [])
})

test('pipeline: an error to HEAD has no body, but the length that GET has', async (t) => {
  await using front = await startPipeline({ authenticator: closed })
  for (const path of ['/v2/', '/v2/A/tags/list', '/v2/nothing', '/nothing']) {
    const head = await request(front, `HEAD ${path}`)
    const get = await request(front, `GET ${path}`)
    t.is(head.body, '')
    t.is(head.status, get.status)
    t.deepEqual(head.headers['content-length'], get.headers['content-length'])
  }
})

for (const [what, line, status, code] of [
  ['a target that could mean two things', 'GET /v2/a%2Fb/tags/list', 400, 'REQUEST_INVALID'],
  ['a name that is none', 'GET /v2/A/tags/list', 400, 'NAME_INVALID'],
  ['a path that leads nowhere', 'GET /v2/a/b', 404, 'NOT_FOUND'],
  ['a local path that leads nowhere', 'GET /nothing', 404, 'NOT_FOUND'],
] as const) {
  test(`pipeline: ${what} is refused before anybody asks who it is`, async (t) => {
    await using front = await startPipeline({ authenticator: closed })
    const answer = await request(front, line)
    t.is(answer.status, status)
    t.is(errorOf(answer.body).code, code)
    t.regex(answer.headers['x-request-id']?.join() ?? '', /./)
    t.deepEqual(front.handled, [])
  })
}

test('pipeline: OPTIONS says what a path answers to, once it is known who asks', async (t) => {
  await using open = await startPipeline()
  const { status, headers, body } = await request(open, 'OPTIONS /v2/a/manifests/latest')
  t.is(status, 204)
  t.deepEqual(headers['allow'], ['GET, HEAD, PUT, DELETE, OPTIONS'])
  t.deepEqual(headers['docker-distribution-api-version'], ['registry/2.0'])
  t.is(body, '')
  await using front = await startPipeline({ authenticator: closed })
  t.is((await request(front, 'OPTIONS /v2/a/manifests/latest')).status, 401)
  t.deepEqual([...open.handled, ...front.handled], [])
})

test('pipeline: a method that a path does not know is 405 with Allow, after authentication', async (t) => {
  await using front = await startPipeline()
  for (const [line, allow] of [
    ['POST /v2/', 'GET, HEAD, OPTIONS'],
    ['PATCH /v2/a/manifests/x', 'GET, HEAD, PUT, DELETE, OPTIONS'],
    ['GET /v2/a/blobs/uploads/', 'POST, OPTIONS'],
    ['TRACE /v2/', 'GET, HEAD, OPTIONS'],
    ['PROPFIND /v2/', 'GET, HEAD, OPTIONS'],
  ] as const) {
    const { status, headers, body } = await request(front, line)
    t.is(status, 405, line)
    t.deepEqual(headers['allow'], [allow])
    t.is(errorOf(body).code, 'UNSUPPORTED')
  }
  t.deepEqual(front.handled, [])
  await using shut = await startPipeline({ authenticator: closed })
  t.is((await request(shut, 'POST /v2/')).status, 401)
})

test('pipeline: several Authorization headers are refused, because a backend might read another', async (t) => {
  await using front = await startPipeline()
  const { status, body } = await request(
    front,
    'GET /v2/',
    'Authorization: Basic YTpi',
    'authorization: Basic Yzpk',
  )
  t.is(status, 400)
  t.is(errorOf(body).code, 'REQUEST_INVALID')
  t.deepEqual(front.handled, [])
})

test('pipeline: a body announced as too large is 413 before a byte of it is read', async (t) => {
  await using front = await startPipeline({ maxBodyBytes: 100 })
  const head = (length: number, more = '') =>
    `PATCH /v2/a/blobs/uploads/u HTTP/1.1\r\nHost: a\r\nContent-Length: ${length}\r\n${more}\r\n`
  const { status, body, headers } = await sendRaw(front.port, head(101), (raw) =>
    raw.includes('}]}'),
  )
  t.is(status, 413)
  t.is(errorOf(body).code, 'REQUEST_TOO_LARGE')
  t.deepEqual(headers['connection'], ['close'])
  const expecting = await sendRaw(front.port, head(101, 'Expect: 100-continue\r\n'), (raw) =>
    raw.includes('}]}'),
  )
  t.is(expecting.status, 413)
  t.false(expecting.raw.includes('100 Continue'))
  t.deepEqual(front.handled, [])
  const fits = await sendRaw(front.port, `${head(100, 'Connection: close\r\n')}${'x'.repeat(100)}`)
  t.is(fits.status, 200)
})

test('pipeline: who is not let in is told before the body, and never asked to continue', async (t) => {
  await using front = await startPipeline({ authenticator: closed })
  const head =
    'PUT /v2/a/blobs/uploads/u HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n'
  const { status, raw, headers } = await sendRaw(front.port, head, (text) => text.includes('}]}'))
  t.is(status, 401)
  t.false(raw.includes('100 Continue'))
  t.deepEqual(headers['connection'], ['close'])
})

test('pipeline: what nobody foresaw is UNKNOWN 500 with a request id, and its cause only in the log', async (t) => {
  const handle = async () => {
    throw new TypeError('a secret of the inside')
  }
  await using front = await startPipeline({ handle })
  const { status, body, headers, raw } = await request(front, 'GET /v2/')
  t.is(status, 500)
  const { code, detail } = errorOf(body)
  t.is(code, 'UNKNOWN')
  t.deepEqual(detail, { requestId: headers['x-request-id']?.join() })
  t.false(raw.includes('secret of the inside'))
  const line = front.lines.find(({ level }) => level === 'error')
  t.is(line?.['requestId'], headers['x-request-id']?.join())
  t.regex(front.text(), /a secret of the inside/)
})

test('pipeline: an authenticator that fails unforeseen lets nobody in', async (t) => {
  const authenticator = {
    authenticate: async () => Promise.reject(new Error('broken')),
    async [Symbol.asyncDispose]() {},
  }
  await using front = await startPipeline({ authenticator })
  t.is((await request(front, 'GET /v2/')).status, 500)
  t.deepEqual(front.handled, [])
})

test('pipeline: trouble with the upstream names the request and is a warning', async (t) => {
  const handle = async () => {
    throw new RegistryError('UPSTREAM_UNREACHABLE', undefined, { cause: new Error('ECONNREFUSED') })
  }
  await using front = await startPipeline({ handle })
  const { status, body, headers } = await request(front, 'GET /v2/')
  t.is(status, 502)
  t.deepEqual(errorOf(body).detail, { requestId: headers['x-request-id']?.join() })
  t.true(front.lines.some(({ level, code }) => level === 'warn' && code === 'UPSTREAM_UNREACHABLE'))
})

for (const [what, write] of [
  [
    'a sized',
    (res: import('node:http').ServerResponse) =>
      res.writeHead(200, { 'Content-Length': 100 }).write('half'),
  ],
  ['a chunked', (res: import('node:http').ServerResponse) => res.writeHead(200).write('half')],
] as const) {
  test(`pipeline: ${what} answer that fails half-way is broken, never ended`, async (t) => {
    const handle = async ({ res }: { res: import('node:http').ServerResponse }) => {
      await new Promise<void>((resolve) => {
        write(res)
        setImmediate(resolve)
      })
      throw new RegistryError('UPSTREAM_INVALID')
    }
    await using front = await startPipeline({ handle })
    const { raw } = await request(front, 'GET /v2/')
    t.regex(raw, /half/)
    t.false(raw.endsWith('0\r\n\r\n'))
    t.false(raw.includes('UPSTREAM_INVALID'))
  })
}

test('pipeline: the backend gets the raw target, the route and what any answer carries', async (t) => {
  const seen: unknown[] = []
  const handle: Parameters<typeof startPipeline>[0] = {
    headers: ['X-Content-Type-Options', 'nosniff'],
    async handle({ req, res, route, origin, headers, principal }) {
      seen.push(req.url, route, origin.authority, principal)
      res.writeHead(200, headers()).end()
    },
  }
  await using front = await startPipeline(handle)
  const target = '/v2/a/blobs/uploads/u?_state=x%3D%3d+&b//c'
  const { headers } = await request(front, `PATCH ${target}`)
  t.deepEqual(seen, [
    target,
    { kind: 'upload', name: 'a', id: 'u' },
    'registry.example:8443',
    { kind: 'anonymous' },
  ])
  t.deepEqual(headers['x-content-type-options'], ['nosniff'])
  t.is(headers['x-request-id']?.length, 1)
})

test('pipeline: token paths pass without a look at credentials, others do not', async (t) => {
  await using front = await startPipeline({ tokenPaths: ['/token'], authenticator: closed })
  t.is((await request(front, 'GET /token?service=a%2Fb')).status, 200)
  t.is((await request(front, 'POST /token')).status, 200)
  t.is((await request(front, 'GET /token/x')).status, 404)
  t.is((await request(front, 'GET /tokens')).status, 404)
  t.deepEqual(front.handled, ['GET /token?service=a%2Fb', 'POST /token'])
})

test('pipeline: while draining, answers end their connections', async (t) => {
  await using front = await startPipeline({ isDraining: () => true })
  for (const path of ['/v2/', '/v2/A/tags/list']) {
    const head = `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`
    const { headers } = await sendRaw(front.port, head)
    t.deepEqual(headers['connection'], ['close'])
  }
})

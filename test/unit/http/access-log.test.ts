import net from 'node:net'
import test from 'ava'
import { RegistryError } from '../../../src/lib/errors.ts'
import { until } from '../relay/support.ts'
import { type LogLine, request, startPipeline } from './support.ts'

const digest = `sha256:${'a'.repeat(64)}`
const alice = {
  authenticate: async () => ({ kind: 'user', name: 'alice' }) as const,
  async [Symbol.asyncDispose]() {},
}

type Front = Awaited<ReturnType<typeof startPipeline>>

/** The access records once there are `count` of them. */
async function records({ lines }: Front, count = 1): Promise<LogLine[]> {
  const found = () => lines.filter(({ msg }) => msg === 'request')
  await until(() => found().length >= count)
  return found()
}

test('access log: a line says who did what, with which outcome', async (t) => {
  await using front = await startPipeline({
    authenticator: alice,
    async handle({ res, progress, headers }) {
      progress.bytesIn = 12
      progress.bytesOut = 34
      res.writeHead(201, headers()).end()
    },
  })
  const { headers } = await request(
    front,
    'PUT /v2/team/app/manifests/latest',
    'User-Agent: docker/29',
  )
  const [line] = await records(front)
  const { time: _, ms, ...rest } = line ?? {}
  t.is(typeof ms, 'number')
  t.deepEqual(rest, {
    level: 'info',
    pid: process.pid,
    hostname: rest['hostname'],
    msg: 'request',
    requestId: headers['x-request-id']?.join(),
    client: '127.0.0.1',
    user: 'alice',
    method: 'PUT',
    host: 'registry.example:8443',
    repository: 'team/app',
    reference: 'latest',
    status: 201,
    bytesIn: 12,
    bytesOut: 34,
    userAgent: 'docker/29',
  })
})

for (const [line, expected] of [
  [`GET /v2/a/blobs/${digest}`, { repository: 'a', reference: digest }],
  ['PATCH /v2/a/blobs/uploads/u', { repository: 'a', reference: 'u' }],
  ['GET /v2/a/tags/list', { repository: 'a', reference: undefined, path: undefined }],
  ['GET /v2/_catalog?n=5', { repository: undefined, path: '/v2/_catalog' }],
  [
    'GET /v2/A/tags/list?x',
    { repository: undefined, path: '/v2/A/tags/list', status: 400, error: 'NAME_INVALID' },
  ],
  ['GET /', { path: '/', status: 200 }],
  ['GET /wp-login.php', { path: '/wp-login.php', status: 404, error: 'NOT_FOUND' }],
] as const) {
  test(`access log: ${line.slice(0, 32)} is about what it names`, async (t) => {
    await using front = await startPipeline()
    await request(front, line)
    const [found] = await records(front)
    for (const [key, value] of Object.entries(expected)) t.is(found?.[key], value, key)
    t.is(found?.['user'], undefined)
  })
}

test('access log: neither query nor credentials ever reach it, whatever goes wrong', async (t) => {
  const handle = async () => {
    throw new Error('unforeseen')
  }
  await using front = await startPipeline({ handle, tokenPaths: ['/token'] })
  const secrets = ['Authorization: Basic c2VjcmV0OnNlY3JldA==', 'Cookie: secret']
  const targets = [
    ...['/v2/a/blobs/uploads/u?_state=secret', '/v2/A/x?_state=secret', '/nothing?_state=secret'],
    ...['/token?account=secret', '/v2/?_state=secret#secret', '/v2/#secret'],
  ]
  for (const target of targets) await request(front, `PUT ${target}`, ...secrets)
  await request(front, 'PUT /v2/?_state=secret', ...secrets, ...secrets)
  await records(front, targets.length + 1)
  t.notRegex(front.text(), /secret|c2VjcmV0/i)
})

test('access log: control characters cannot forge a line or reach a terminal', async (t) => {
  await using front = await startPipeline()
  await request(front, 'GET /v2/', 'User-Agent: a\t[31m\x9bb')
  await request(front, 'GET /%0a%1b', `User-Agent: ${'x'.repeat(5000)}`)
  const [first, second] = await records(front, 2)
  t.regex(String(first?.['userAgent']), /^a\ufffd\[31m\ufffd/)
  t.is(String(second?.['userAgent']).length, 256)
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
  t.notRegex(front.text().replaceAll('\n', ''), /[\0-\x1f\x7f-\x9f]/)
})

test('access log: probes are not in it, what comes after them is', async (t) => {
  await using front = await startPipeline()
  await request(front, 'GET /healthz')
  await request(front, 'GET /readyz?x')
  await request(front, 'HEAD /healthz')
  await request(front, 'GET /v2/')
  const found = await records(front)
  t.deepEqual(
    found.map(({ path }) => path),
    ['/v2/'],
  )
})

test('access log: it can be turned off', async (t) => {
  await using front = await startPipeline({ accessLog: false })
  await request(front, 'GET /v2/')
  await request(front, 'GET /v2/A/x')
  t.deepEqual(front.lines, [])
})

test('access log: a client that leaves before its answer is 499, and no error', async (t) => {
  const begun = Promise.withResolvers<void>()
  await using front = await startPipeline({
    handle: ({ res }) => {
      begun.resolve()
      return new Promise((resolve) => void res.on('close', () => resolve()))
    },
  })
  const socket = net.connect(front.port, '127.0.0.1')
  socket.write('GET /v2/ HTTP/1.1\r\nHost: a\r\n\r\n')
  await begun.promise
  socket.destroy()
  const [line] = await records(front)
  t.is(line?.['status'], 499)
  t.is(line?.['error'], undefined)
  t.false(front.lines.some(({ level }) => level === 'error' || level === 'warn'))
})

test('access log: an answer that broke half-way keeps its status and names the error', async (t) => {
  await using front = await startPipeline({
    async handle({ res }) {
      await new Promise<void>((resolve) => {
        res.writeHead(200, { 'Content-Length': 100 }).write('half')
        setImmediate(resolve)
      })
      throw new RegistryError('UPSTREAM_UNREACHABLE')
    },
  })
  await request(front, 'GET /v2/')
  const [line] = await records(front)
  t.is(line?.['status'], 200)
  t.is(line?.['error'], 'UPSTREAM_UNREACHABLE')
})

import test from 'ava'
import { createHealth, createLocalHandler } from '../../../src/http/local.ts'
import { RegistryError } from '../../../src/lib/errors.ts'
import { request, startPipeline, startServer } from './support.ts'

const shut = {
  async authenticate(): Promise<never> {
    throw new RegistryError('UNAUTHORIZED')
  },
  async [Symbol.asyncDispose]() {},
}

test('local: health and the empty page need no credentials', async (t) => {
  await using front = await startPipeline({ authenticator: shut })
  const page = await request(front, 'GET /')
  t.is(page.status, 200)
  t.is(page.body, '')
  t.deepEqual(page.headers['cache-control'], ['no-cache'])
  for (const path of ['/healthz', '/readyz']) {
    const { status, body, headers } = await request(front, `GET ${path}`)
    t.is(status, 200)
    t.deepEqual(JSON.parse(body), { status: 'ok' })
    t.deepEqual(headers['content-type'], ['application/json'])
    const head = await request(front, `HEAD ${path}`)
    t.is(head.body, '')
    t.deepEqual(head.headers['content-length'], headers['content-length'])
  }
  t.deepEqual(front.handled, [])
})

test('local: without its backend the front is alive but not ready, and says why', async (t) => {
  const health = createHealth(
    { probe: async () => Promise.reject(new RegistryError('UPSTREAM_UNREACHABLE')) },
    () => false,
  )
  await using front = await startPipeline({ health })
  t.is((await request(front, 'GET /healthz')).status, 200)
  const { status, body, headers } = await request(front, 'GET /readyz')
  t.is(status, 503)
  t.is(JSON.parse(body).status, 'unavailable')
  t.regex(JSON.parse(body).reason, /cannot be reached/)
  t.deepEqual(headers['retry-after'], ['5'])
})

test('local: while draining it is not ready, whatever the backend says', async (t) => {
  let probes = 0
  const probe = async () => {
    probes += 1
  }
  const health = createHealth({ probe }, () => true)
  t.regex((await health.notReady()) ?? '', /shutting down/)
  t.is(probes, 0)
})

test('local: many probes at once are one look at the backend', async (t) => {
  let probes = 0
  const probe = async () => {
    probes += 1
  }
  const health = createHealth({ probe }, () => false)
  await Promise.all(Array.from({ length: 50 }, () => health.notReady()))
  t.is(probes, 1)
})

test('local: a method that it does not know is 405 with Allow', async (t) => {
  await using front = await startPipeline()
  for (const path of ['/', '/healthz', '/readyz']) {
    for (const method of ['POST', 'DELETE', 'OPTIONS']) {
      const { status, headers } = await request(front, `${method} ${path}`)
      t.is(status, 405, `${method} ${path}`)
      t.deepEqual(headers['allow'], ['GET, HEAD'])
    }
  }
})

test("local: the debug listener knows health, registry:2's path for it, and nothing of the registry", async (t) => {
  const health = createHealth({ probe: async () => {} }, () => false)
  await using debug = await startServer(createLocalHandler(health))
  for (const path of ['/', '/healthz', '/readyz', '/debug/health']) {
    t.is((await request(debug, `GET ${path}`)).status, 200, path)
  }
  for (const path of ['/v2/', '/v2/_catalog', '/metrics', '/debug/pprof/']) {
    const { status, body } = await request(debug, `GET ${path}`)
    t.is(status, 404, path)
    t.is(JSON.parse(body).errors[0].code, 'NOT_FOUND')
  }
  t.is((await request(debug, 'GET /v2/..')).status, 400)
})

test('local: metrics are served at their path to who reads, next to health', async (t) => {
  const health = createHealth({ probe: async () => {} }, () => false)
  const metrics = { path: '/deep/metrics', text: async () => 'up 1\n' }
  await using debug = await startServer(createLocalHandler(health, metrics))
  const page = await request(debug, 'GET /deep/metrics?x=1')
  t.is(page.status, 200)
  t.is(page.body, 'up 1\n')
  t.deepEqual(page.headers['content-type'], ['text/plain; version=0.0.4; charset=utf-8'])
  const head = await request(debug, 'HEAD /deep/metrics')
  t.is(head.body, '')
  t.deepEqual(head.headers['content-length'], ['5'])
  const post = await request(debug, 'POST /deep/metrics')
  t.is(post.status, 405)
  t.deepEqual(post.headers['allow'], ['GET, HEAD'])
  t.is((await request(debug, 'GET /healthz')).status, 200)
  t.is((await request(debug, 'GET /metrics')).status, 404)
})

test('local: metrics that cannot be had are 500, and say nothing of why', async (t) => {
  const health = createHealth({ probe: async () => {} }, () => false)
  const metrics = { path: '/metrics', text: () => Promise.reject(new Error('inner')) }
  await using debug = await startServer(createLocalHandler(health, metrics))
  const { status, body } = await request(debug, 'GET /metrics')
  t.is(status, 500)
  t.false(body.includes('inner'))
})

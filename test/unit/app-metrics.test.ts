import { mkdtempDisposable, writeFile } from 'node:fs/promises'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import test from 'ava'
import { startHttpBackend } from '../support/backends.ts'
import { type Front, startFront } from '../support/front.ts'

const sha = '{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=' // secret
const right = `Basic ${Buffer.from('alice:secret').toString('base64')}`
const wrong = `Basic ${Buffer.from('alice:guess').toString('base64')}`

function ask(front: Front, method: string, path: string, authorization = right): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  const options = { ca: front.ca, method, path, headers: { authorization }, agent: false }
  const req = request(front.url, options, (res) => {
    text(res).then(() => resolve(res.statusCode ?? 0), reject)
  })
  req.on('error', reject)
  req.end()
  return promise
}

function debugUrlOf({ lines }: Front): string {
  return String(lines.find(({ msg }) => msg === 'debug server listening')?.['url'])
}

/** The metrics as soon as all requests so far have been counted, which is after their answers. */
async function metricsOf(front: Front): Promise<string> {
  for (;;) {
    const page = await (await fetch(`${debugUrlOf(front)}/metrics`)).text()
    if (/^tidegate_requests_in_flight 0$/m.test(page)) return page
    await delay(10)
  }
}

async function startMeasured(path: string, overrides: Record<string, unknown> = {}) {
  const backend = await startHttpBackend((_req, res) => void res.end('answer'))
  await writeFile(path, `alice:${sha}\n`)
  const front = await startFront(backend.url, {
    'http.debug': { addr: '127.0.0.1:0', prometheus: { enabled: 'true' } },
    'auth.htpasswd': { path },
    ...overrides,
  })
  return {
    front,
    async [Symbol.asyncDispose]() {
      await front[Symbol.asyncDispose]()
      await backend[Symbol.asyncDispose]()
    },
  }
}

const temporary = () => mkdtempDisposable(join(tmpdir(), 'tidegate-metrics-'))

test('metrics: without http.debug.prometheus.enabled there are none', async (t) => {
  await using dir = await temporary()
  await using measured = await startMeasured(join(dir.path, 'htpasswd'), {
    'http.debug': { addr: '127.0.0.1:0' },
  })
  t.is((await fetch(`${debugUrlOf(measured.front)}/metrics`)).status, 404)
  t.is(await ask(measured.front, 'GET', '/metrics'), 404)
})

test('metrics: nonsense adds no label values, and no name of a user or repository', async (t) => {
  await using dir = await temporary()
  await using measured = await startMeasured(join(dir.path, 'htpasswd'))
  const { front } = measured
  for (let at = 0; at < 20; at++) {
    await ask(front, 'GET', `/nonsense${at}`)
    await ask(front, 'GET', `/v2/repo${at}/nonsense${at}`)
    await ask(front, 'GET', `/v2/repo${at}/manifests/tag${at}`)
    await ask(front, 'PROPFIND', `/v2/%zz${at}`)
  }
  await ask(front, 'MKCOL', '/v2/')
  const page = await metricsOf(front)
  t.notRegex(page, /nonsense|repo\d|tag\d|alice|PROPFIND|MKCOL/)
  t.deepEqual(page.match(/^tidegate_requests_total\{.*$/gm)?.toSorted(), [
    'tidegate_requests_total{route="base",method="other",code="405"} 1',
    'tidegate_requests_total{route="local",method="GET",code="404"} 20',
    'tidegate_requests_total{route="manifest",method="GET",code="200"} 20',
    'tidegate_requests_total{route="none",method="GET",code="404"} 20',
    'tidegate_requests_total{route="none",method="other",code="400"} 20',
  ])
})

test('metrics: what was asked is counted on the debug listener, and nothing of it on the other', async (t) => {
  await using dir = await temporary()
  await using measured = await startMeasured(join(dir.path, 'htpasswd'))
  const { front } = measured
  for (let left = 3; left > 0; left--) t.is(await ask(front, 'GET', '/v2/a/manifests/latest'), 200)
  t.is(await ask(front, 'HEAD', '/v2/a/manifests/latest'), 200)
  t.is(await ask(front, 'GET', '/v2/', wrong), 401)
  t.is(await ask(front, 'GET', '/metrics'), 404)
  const page = await metricsOf(front)
  for (const line of [
    'tidegate_requests_total{route="manifest",method="GET",code="200"} 3',
    'tidegate_requests_total{route="manifest",method="HEAD",code="200"} 1',
    'tidegate_requests_total{route="base",method="GET",code="401"} 1',
    'tidegate_request_duration_seconds_count{route="manifest",method="GET"} 3',
    'tidegate_password_verifications_total{outcome="right"} 1',
    'tidegate_password_verifications_total{outcome="wrong"} 1',
    'tidegate_password_verifications_waiting 0',
  ]) {
    t.true(page.split('\n').includes(line), line)
  }
  const bytesOut = Number(/^tidegate_response_body_bytes_total (\d+)$/m.exec(page)?.[1])
  t.true(bytesOut >= 3 * 'answer'.length)
})

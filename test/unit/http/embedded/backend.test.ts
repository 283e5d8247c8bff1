import test from 'ava'
import fc from 'fast-check'
import { createEmbeddedBackend } from '../../../../src/http/embedded/backend.ts'
import { RegistryError } from '../../../../src/lib/errors.ts'
import { sendRaw } from '../support.ts'
import { ask, digestOf, errorIn, headerOf, MemoryRegistry, startEmbedded } from './support.ts'

test('embedded: an extension that there is not is 404 in JSON', async (t) => {
  await using front = await startEmbedded(new MemoryRegistry())
  for (const line of ['GET /v2/_oci/ext/discover', 'POST /v2/a/_x/y/z', 'GET /v2/_catalog/more']) {
    const answer = await ask(front, line)
    t.is(answer.status, 404, line)
    t.is(errorIn(answer).code, 'NOT_FOUND')
  }
})

test('embedded: the base answers two bytes', async (t) => {
  await using front = await startEmbedded(new MemoryRegistry())
  for (const path of ['/v2/', '/v2']) {
    const answer = await ask(front, `GET ${path}`)
    t.is(answer.status, 200)
    t.is(answer.body, '{}')
    t.is(headerOf(answer, 'content-length'), '2')
    t.is(headerOf(answer, 'content-type'), 'application/json')
    t.is(headerOf(answer, 'docker-distribution-api-version'), 'registry/2.0')
  }
  const head = await ask(front, 'HEAD /v2/')
  t.deepEqual([head.status, head.body, headerOf(head, 'content-length')], [200, '', '2'])
})

test('embedded: what goes wrong in the registry is the answer, with its headers', async (t) => {
  const registry = new MemoryRegistry()
  const deny = async (): Promise<never> => {
    throw new RegistryError('READ_ONLY', undefined, { headers: { 'Retry-After': '5' } })
  }
  const uploads = { ...registry.uploads, start: deny }
  await using front = await startEmbedded({ ...registry, uploads })
  const answer = await ask(front, 'POST /v2/a/blobs/uploads/')
  t.is(answer.status, 405)
  t.is(errorIn(answer).code, 'UNSUPPORTED')
  t.is(headerOf(answer, 'retry-after'), '5')
})

test('embedded: a 405 for what the registry does not let happen says what is left', async (t) => {
  const refuse = (code: 'READ_ONLY' | 'DELETE_DISABLED') => async (): Promise<never> => {
    throw new RegistryError(code)
  }
  const registry = new MemoryRegistry()
  const [readonly, disabled] = [refuse('READ_ONLY'), refuse('DELETE_DISABLED')]
  await using front = await startEmbedded({
    ...registry,
    uploads: { ...registry.uploads, start: readonly },
    manifests: { ...registry.manifests, admit: readonly, delete: disabled },
    blobs: { ...registry.blobs, delete: disabled },
  })
  for (const [line, allow] of [
    ['POST /v2/a/blobs/uploads/', 'OPTIONS'],
    ['PUT /v2/a/manifests/latest', 'GET, HEAD, OPTIONS'],
    [`DELETE /v2/a/manifests/${digestOf('a')}`, 'GET, HEAD, PUT, OPTIONS'],
    [`DELETE /v2/a/blobs/${digestOf('a')}`, 'GET, HEAD, OPTIONS'],
  ] as const) {
    const answer = await ask(front, line)
    t.is(answer.status, 405, line)
    t.is(headerOf(answer, 'allow'), allow, line)
  }
})

test('embedded: it is ready when its registry is', async (t) => {
  const options = {
    relative: false,
    idleTimeoutMs: 1000,
    maxBodyBytes: undefined,
    maxManifestBytes: 1000,
    maxTags: 10,
    maxCatalog: 10,
  }
  await t.notThrowsAsync(createEmbeddedBackend(new MemoryRegistry(), options).probe())
  const probe = async (): Promise<never> => {
    throw new RegistryError('UNAVAILABLE')
  }
  const broken = createEmbeddedBackend({ ...new MemoryRegistry(), probe }, options)
  await t.throwsAsync(broken.probe(), { instanceOf: RegistryError })
})

test('embedded: many requests on one connection are all answered', async (t) => {
  const registry = new MemoryRegistry()
  const digest = registry.addBlob('a', Buffer.from('0123456789'))
  await using front = await startEmbedded(registry)
  const lines = [
    'GET /v2/',
    `GET /v2/a/blobs/${digest}`,
    `HEAD /v2/a/blobs/${digest}`,
    'POST /v2/a/blobs/uploads/',
    'GET /v2/b/tags/list',
    'PUT /v2/a/manifests/x',
    `GET /v2/a/referrers/${digest}`,
  ]
  const requests = lines.map((line) => `${line} HTTP/1.1\r\nHost: a\r\n\r\n`).join('')
  const last = 'GET /v2/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
  const { raw } = await sendRaw(front.port, requests + last)
  const statuses = [...raw.matchAll(/HTTP\/1\.1 ([0-9]+)/g)].map(([, status]) => Number(status))
  t.deepEqual(statuses, [200, 200, 200, 202, 404, 400, 200, 200])
})

const word = fc.constantFrom(
  ...['n', 'last', 'digest', 'mount', 'from', 'tag', 'artifactType', 'digest-algorithm', 'x'],
)
const value = fc.oneof(
  fc.constantFrom('', '0', '1', '-1', 'sha256', digestOf('a'), 'md5:a', '%', '%00', '%ff', 'a/b'),
  fc.string({ maxLength: 20 }).map(encodeURIComponent),
)
const query = fc
  .array(fc.tuple(word, value), { maxLength: 4 })
  .map((parameters) => parameters.map((parameter) => parameter.join('=')).join('&'))
const target = fc.constantFrom(
  '/v2/',
  '/v2/_catalog',
  '/v2/a/tags/list',
  '/v2/a/manifests/latest',
  `/v2/a/manifests/${digestOf('a')}`,
  '/v2/a/manifests/a+b:c',
  `/v2/a/blobs/${digestOf('a')}`,
  '/v2/a/blobs/uploads/',
  '/v2/a/blobs/uploads/unknown',
  `/v2/a/referrers/${digestOf('a')}`,
  '/v2/a/_ext/x',
)
const header = fc.tuple(
  fc.constantFrom('Range', 'Content-Range', 'If-None-Match', 'If-Range', 'Content-Type', 'Accept'),
  fc.oneof(
    fc.constantFrom('bytes=0-1', '0-1', '*', '"', ',', ''),
    fc.stringMatching(/^[ -~]{0,20}$/),
  ),
)

test('embedded: whatever is asked, nothing is taken for a fault of ours', async (t) => {
  const registry = new MemoryRegistry()
  registry.addBlob('a', Buffer.from('a'))
  await using front = await startEmbedded(registry)
  const method = fc.constantFrom('GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE')
  const body = fc.option(fc.string({ maxLength: 10 }), { nil: undefined })
  await fc.assert(
    fc.asyncProperty(
      fc.record({ method, target, query, headers: fc.array(header, { maxLength: 3 }), body }),
      async (asked) => {
        const line = `${asked.method} ${asked.target}?${asked.query}`
        const headers = asked.headers.map(([name, text]) => `${name}: ${text}`)
        const extra = asked.body === undefined ? { headers } : { headers, body: asked.body }
        const { status } = await ask(front, line, extra)
        t.true(status >= 200 && status < 500, `${line} ${status}`)
      },
    ),
    { numRuns: 150 },
  )
  t.false(front.lines.some(({ level }) => level === 'error' || level === 'warn'))
})

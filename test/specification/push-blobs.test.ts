import test from 'ava'
import { anyDigest, anyRepo, blob, digestOf } from './content.ts'
import {
  errorCodes,
  expect,
  patch,
  pushBlobs,
  registryOfFile,
  startUpload,
  target,
} from './support.ts'

const registry = registryOfFile()
const uploadsOf = (repo: string, query = '') => `/v2/${repo}/blobs/uploads/${query}`
const finish = (location: string, digest: string, body: Buffer | string = '') =>
  registry.request('PUT', target(registry, location, { digest }), {
    headers: { 'Content-Type': 'application/octet-stream' },
    body,
  })

const unusable = [
  'sha256:short',
  `sha256:${'A'.repeat(64)}`,
  `sha256:${'g'.repeat(64)}`,
  `sha256:${'a'.repeat(65)}`,
  `sha512:${'a'.repeat(64)}`,
  `md5:${'a'.repeat(32)}`,
  'a'.repeat(64),
  '',
]
for (const digest of unusable) {
  test(`U3: no blob can be pushed as ${digest.slice(0, 16)} (${digest.length} characters)`, async (t) => {
    const repo = anyRepo()
    const location = await startUpload(registry, repo)
    const closing = await finish(location, digest, 'abc')
    t.is(closing.status, 400)
    t.deepEqual(errorCodes(closing), ['DIGEST_INVALID'])
    const query = `?digest=${encodeURIComponent(digest)}`
    const single = await registry.request('POST', uploadsOf(repo, query), { body: 'abc' })
    t.is(single.status, 400)
    t.deepEqual(errorCodes(single), ['DIGEST_INVALID'])
  })
}

test('U3: a closing PUT without a digest is 400', async (t) => {
  const answer = await registry.request('PUT', await startUpload(registry, anyRepo()))
  t.is(answer.status, 400)
  t.deepEqual(errorCodes(answer), ['DIGEST_INVALID'])
})

test('U3: mounting by a digest that is none is 400', async (t) => {
  const answer = await registry.request('POST', uploadsOf(anyRepo(), '?mount=sha256:short&from=a'))
  t.is(answer.status, 400)
  t.deepEqual(errorCodes(answer), ['DIGEST_INVALID'])
})

test('U3: bytes of another digest are 400, and no blob, however they come', async (t) => {
  const repo = anyRepo()
  for (const algorithm of ['sha256', 'sha512'] as const) {
    const digest = anyDigest(algorithm)
    const whole = await finish(await startUpload(registry, repo), digest, 'other bytes')
    const location = await startUpload(registry, repo)
    expect(await patch(registry, location, { first: 0, body: 'other bytes' }), 202)
    const chunked = await finish(location, digest)
    const query = `?digest=${digest}`
    const single = await registry.request('POST', uploadsOf(repo, query), { body: 'other bytes' })
    for (const answer of [whole, chunked, single]) {
      t.is(answer.status, 400)
      t.deepEqual(errorCodes(answer), ['DIGEST_INVALID'])
    }
    t.is((await registry.request('HEAD', `/v2/${repo}/blobs/${digest}`)).status, 404)
  }
})

test('U4: a session begins with 202 and a Location that no other has', async (t) => {
  const repo = anyRepo()
  const answers = await Promise.all(
    Array.from({ length: 10 }, () => registry.request('POST', uploadsOf(repo))),
  )
  for (const answer of answers) t.is(answer.status, 202)
  const paths = new Set(answers.map((answer) => target(registry, answer.header('location'))))
  t.is(paths.size, 10)
  for (const path of paths) t.is((await registry.request('GET', path)).status, 204)
})

test('U5: the closing PUT is 201, and its Location gives the blob', async (t) => {
  const repo = anyRepo()
  for (const { bytes, digest } of [blob(70_000), blob(70_000, { algorithm: 'sha512' }), blob('')]) {
    const answer = await finish(await startUpload(registry, repo), digest, bytes)
    t.is(answer.status, 201)
    t.is(answer.header('docker-content-digest'), digest)
    const found = await registry.request('GET', target(registry, answer.header('location')))
    t.deepEqual(found.body, bytes)
  }
})

test('U5: a form as Content-Type changes nothing about the bytes', async (t) => {
  const { bytes, digest } = blob('a=b&c=d')
  const location = await startUpload(registry, anyRepo())
  const answer = await registry.request('PUT', target(registry, location, { digest }), {
    headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
    body: bytes,
  })
  t.is(answer.status, 201)
})

test('U6: a single POST is 201, and its Location gives the blob', async (t) => {
  const repo = anyRepo()
  for (const { bytes, digest } of [blob(70_000), blob(70_000, { algorithm: 'sha512' }), blob('')]) {
    const answer = await registry.request('POST', uploadsOf(repo, `?digest=${digest}`), {
      headers: { 'Content-Type': 'application/octet-stream' },
      body: bytes,
    })
    t.is(answer.status, 201)
    const found = await registry.request('GET', target(registry, answer.header('location')))
    t.deepEqual(found.body, bytes)
  }
})

test('U7: after a POST with Content-Length 0 the session has nothing in it', async (t) => {
  const repo = anyRepo()
  const headers = { 'Content-Length': '0' }
  const answer = await registry.request('POST', uploadsOf(repo), { headers })
  t.is(answer.status, 202)
  t.is((await finish(target(registry, answer.header('location')), digestOf(''))).status, 201)
})

test('U8: where no OCI-Chunk-Min-Length is named, chunks may be as small as one byte', async (t) => {
  const repo = anyRepo()
  const answer = await registry.request('POST', uploadsOf(repo))
  t.is(answer.header('oci-chunk-min-length'), undefined)
  let location = target(registry, answer.header('location'))
  for (const [first, body] of [...'tide'].entries()) {
    const taken = expect(await patch(registry, location, { first, body }), 202)
    location = target(registry, taken.header('location'))
  }
  t.is((await finish(location, digestOf('tide'))).status, 201)
})

test('U9: a session for sha512 ends with a blob of that digest', async (t) => {
  const repo = anyRepo()
  const { bytes, digest } = blob(5000, { algorithm: 'sha512' })
  const location = await startUpload(registry, repo, '?digest-algorithm=sha512')
  expect(await patch(registry, location, { first: 0, body: bytes }), 202)
  const answer = await finish(location, digest)
  t.is(answer.status, 201)
  t.is(answer.header('docker-content-digest'), digest)
})

test('U9: the algorithm that is announced binds nobody to it', async (t) => {
  const { bytes, digest } = blob(5000)
  const location = await startUpload(registry, anyRepo(), '?digest-algorithm=sha512')
  t.is((await finish(location, digest, bytes)).status, 201)
})

test('U9: an algorithm that we do not have is 400 before anything is sent', async (t) => {
  const answer = await registry.request('POST', uploadsOf(anyRepo(), '?digest-algorithm=md5'))
  t.is(answer.status, 400)
  t.deepEqual(errorCodes(answer), ['DIGEST_INVALID'])
})

for (const algorithm of ['sha256', 'sha512'] as const) {
  test(`U16: a ${algorithm} blob mounts from a repository that has it`, async (t) => {
    const [repo, from] = [anyRepo(), anyRepo()]
    const { bytes, digest } = blob(1000, { algorithm })
    await pushBlobs(registry, from, [{ bytes, digest, mediaType: '' }])
    const path = uploadsOf(repo, `?mount=${digest}&from=${encodeURIComponent(from)}`)
    const answer = await registry.request('POST', path)
    t.is(answer.status, 201)
    t.is(answer.header('docker-content-digest'), digest)
    const location = target(registry, answer.header('location'))
    t.is(location, `/v2/${repo}/blobs/${digest}`)
    t.deepEqual((await registry.request('GET', location)).body, bytes)
  })
}

test('U17: without `from` the blob is found wherever it is', async (t) => {
  const repo = anyRepo()
  const layer = blob(1000)
  await pushBlobs(registry, anyRepo(), [layer])
  const answer = await registry.request('POST', uploadsOf(repo, `?mount=${layer.digest}`))
  t.is(answer.status, 201)
  const found = await registry.request('GET', target(registry, answer.header('location')))
  t.deepEqual(found.body, layer.bytes)
})

test('U18: a mount that cannot be done is a session like any other', async (t) => {
  const [repo, from] = [anyRepo(), anyRepo()]
  await pushBlobs(registry, from, [blob()])
  const queries = [`&from=${from}`, `&from=${anyRepo()}`, '']
  for (const query of queries) {
    const { bytes, digest } = blob(1000)
    const answer = await registry.request('POST', uploadsOf(repo, `?mount=${digest}${query}`))
    t.is(answer.status, 202, query)
    const location = target(registry, answer.header('location'))
    t.is((await finish(location, digest, bytes)).status, 201)
  }
})

test('U18: nor can a blob be mounted from a repository that has deleted it', async (t) => {
  const [repo, from] = [anyRepo(), anyRepo()]
  const layer = blob(1000)
  await pushBlobs(registry, from, [layer])
  expect(await registry.request('DELETE', `/v2/${from}/blobs/${layer.digest}`), 202)
  const path = uploadsOf(repo, `?mount=${layer.digest}&from=${from}`)
  t.is((await registry.request('POST', path)).status, 202)
  t.is((await registry.request('HEAD', `/v2/${repo}/blobs/${layer.digest}`)).status, 404)
})

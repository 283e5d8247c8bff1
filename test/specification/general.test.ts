import test from 'ava'
import { anyDigest, anyRepo, blob, emptyJson, image, manifest, types } from './content.ts'
import {
  type Answer,
  errorCodes,
  openLockedRegistry,
  pushArtifact,
  pushBlobs,
  putManifest,
  registryOfFile,
  startUpload,
  target,
} from './support.ts'

const registry = registryOfFile()

const basic = (pair: string) => ({ Authorization: `Basic ${Buffer.from(pair).toString('base64')}` })

test('G1: every endpoint of pulling, pushing, discovery and management is there', async (t) => {
  const repo = anyRepo()
  const layer = blob()
  const { bytes, digest } = image({ config: emptyJson, layers: [layer] })
  const statuses: Record<string, number> = {}
  const call = async (id: string, method: string, path: string, body?: Buffer): Promise<Answer> => {
    const headers = { 'Content-Type': body === bytes ? types.image : types.bytes }
    const answer = await registry.request(method, path, { headers, ...(body && { body }) })
    statuses[id] = answer.status
    return answer
  }
  const uploads = `/v2/${repo}/blobs/uploads/`
  const session = async (id: string) =>
    target(registry, (await call(id, 'POST', uploads)).header('location'))

  await call('end-1', 'GET', '/v2/')
  const opened = await session('end-4a')
  const patched = await call('end-5', 'PATCH', opened, layer.bytes)
  const location = target(registry, patched.header('location'))
  await call('end-13', 'GET', location)
  await call('end-6', 'PUT', target(registry, location, { digest: layer.digest }))
  await call('end-4b', 'POST', `${uploads}?digest=${emptyJson.digest}`, emptyJson.bytes)
  await call('end-14', 'DELETE', await session('end-4c'))
  await call('end-11', 'POST', `/v2/${anyRepo()}/blobs/uploads/?mount=${layer.digest}&from=${repo}`)
  await call('end-7a', 'PUT', `/v2/${repo}/manifests/one`, bytes)
  await call('end-7b', 'PUT', `/v2/${repo}/manifests/${digest}?tag=two`, bytes)
  await call('end-2', 'GET', `/v2/${repo}/blobs/${layer.digest}`)
  await call('end-2 HEAD', 'HEAD', `/v2/${repo}/blobs/${layer.digest}`)
  await call('end-3', 'GET', `/v2/${repo}/manifests/one`)
  await call('end-3 HEAD', 'HEAD', `/v2/${repo}/manifests/${digest}`)
  await call('end-8a', 'GET', `/v2/${repo}/tags/list`)
  await call('end-8b', 'GET', `/v2/${repo}/tags/list?n=1&last=one`)
  await call('end-12a', 'GET', `/v2/${repo}/referrers/${digest}`)
  await call('end-12b', 'GET', `/v2/${repo}/referrers/${digest}?artifactType=${types.artifactOne}`)
  await call('end-9 tag', 'DELETE', `/v2/${repo}/manifests/one`)
  await call('end-9', 'DELETE', `/v2/${repo}/manifests/${digest}`)
  await call('end-10', 'DELETE', `/v2/${repo}/blobs/${layer.digest}`)
  t.deepEqual(statuses, {
    ...{ 'end-1': 200, 'end-2': 200, 'end-2 HEAD': 200, 'end-3': 200, 'end-3 HEAD': 200 },
    ...{ 'end-4a': 202, 'end-4b': 201, 'end-4c': 202, 'end-5': 202, 'end-6': 201 },
    ...{ 'end-7a': 201, 'end-7b': 201, 'end-8a': 200, 'end-8b': 200, 'end-9 tag': 202 },
    ...{ 'end-9': 202, 'end-10': 202, 'end-11': 201, 'end-12a': 200, 'end-12b': 200 },
    ...{ 'end-13': 204, 'end-14': 204 },
  })
})

test('G3: the base endpoint is 200 where the API is implemented', async (t) => {
  const answer = await registry.request('GET', '/v2/')
  t.is(answer.status, 200)
  t.is((await registry.request('HEAD', '/v2/')).status, 200)
})

test('G3: it is 401 with a challenge to who has not logged in, 200 to who has', async (t) => {
  await using locked = await openLockedRegistry(4)
  const refused = await locked.request('GET', '/v2/')
  t.is(refused.status, 401)
  t.deepEqual(errorCodes(refused), ['UNAUTHORIZED'])
  t.regex(refused.header('www-authenticate') ?? '', /^Basic realm="/)
  t.is((await locked.request('GET', '/v2/', { headers: basic('user:password') })).status, 200)
})

test('G4: answers carry the header by which Docker knows a registry', async (t) => {
  for (const path of ['/v2/', `/v2/${anyRepo()}/tags/list`, `/v2/A/blobs/${anyDigest()}`]) {
    const answer = await registry.request('GET', path)
    t.is(answer.header('docker-distribution-api-version'), 'registry/2.0', path)
  }
})

test('G4: a session tells its id in the header that Docker reads, always the same', async (t) => {
  const opened = await registry.request('POST', `/v2/${anyRepo()}/blobs/uploads/`)
  const id = opened.header('docker-upload-uuid') ?? ''
  t.not(id, '')
  const location = target(registry, opened.header('location'))
  for (const method of ['PATCH', 'GET']) {
    const answer = await registry.request(method, location, method === 'PATCH' ? { body: 'a' } : {})
    t.is(answer.header('docker-upload-uuid'), id)
  }
})

test('G4: a Docker schema 1 manifest, which nothing reads any more, is refused cleanly', async (t) => {
  const repo = anyRepo()
  const old = manifest('application/vnd.docker.distribution.manifest.v1+json', {
    ...{ schemaVersion: 1, name: repo, tag: 'old', architecture: 'amd64' },
    fsLayers: [{ blobSum: anyDigest() }],
    history: [{ v1Compatibility: '{}' }],
  })
  const answer = await putManifest(registry, repo, { ...old, reference: 'old' })
  t.is(answer.status, 400)
  t.deepEqual(errorCodes(answer), ['MANIFEST_INVALID'])
})

test('G5: a method that a resource does not have is 405 and names those it has', async (t) => {
  const repo = anyRepo()
  const cases = [
    ['POST', `/v2/${repo}/manifests/latest`, /\bPUT\b/],
    ['PUT', `/v2/${repo}/blobs/${anyDigest()}`, /\bGET\b/],
    ['DELETE', `/v2/${repo}/tags/list`, /\bGET\b/],
    ['GET', `/v2/${repo}/blobs/uploads/`, /\bPOST\b/],
  ] as const
  for (const [method, path, allowed] of cases) {
    const answer = await registry.request(method, path)
    t.is(answer.status, 405, `${method} ${path}`)
    t.regex(answer.header('allow') ?? '', allowed)
  }
})

test('G5: what a client has already is 304 with its entity tag and without its bytes', async (t) => {
  const repo = anyRepo()
  const layer = blob()
  await pushBlobs(registry, repo, [layer])
  await pushArtifact(registry, repo, { reference: 'latest' })
  for (const path of [`/v2/${repo}/blobs/${layer.digest}`, `/v2/${repo}/manifests/latest`]) {
    const etag = (await registry.request('GET', path)).header('etag') ?? ''
    t.regex(etag, /^"[^"]+"$/)
    for (const value of [etag, `"other", ${etag}`, `W/${etag}`, '*']) {
      const answer = await registry.request('GET', path, { headers: { 'If-None-Match': value } })
      t.is(answer.status, 304, value)
      t.is(answer.header('etag'), etag)
      t.is(answer.body.length, 0)
    }
    const changed = await registry.request('GET', path, { headers: { 'If-None-Match': '"other"' } })
    t.is(changed.status, 200)
  }
})

test('G6: no Location leads to another host, so no client carries its credentials there', async (t) => {
  const repo = anyRepo()
  const layer = blob()
  const made = await pushArtifact(registry, repo, { layers: [] })
  await pushBlobs(registry, repo, [layer])
  const headers = { 'X-Forwarded-Host': 'elsewhere.example', Forwarded: 'host=elsewhere.example' }
  const answers = [
    await registry.request('POST', `/v2/${repo}/blobs/uploads/`, { headers }),
    await registry.request('POST', `/v2/${repo}/blobs/uploads/?mount=${layer.digest}`, { headers }),
    await registry.request('PUT', `/v2/${repo}/manifests/latest`, {
      headers: { ...headers, 'Content-Type': made.mediaType },
      body: made.bytes,
    }),
  ]
  for (const answer of answers) {
    t.true(answer.status < 300, String(answer.status))
    t.notThrows(() => target(registry, answer.header('location')))
  }
})

test('G6: nothing is redirected, so a client that cannot follow loses nothing', async (t) => {
  const repo = anyRepo()
  const layer = blob(100_000)
  await pushBlobs(registry, repo, [layer])
  const answer = await registry.request('GET', `/v2/${repo}/blobs/${layer.digest}`)
  t.is(answer.status, 200)
  t.deepEqual(answer.body, layer.bytes)
})

test('G7: 429 says when to come again', async (t) => {
  await using locked = await openLockedRegistry(13)
  const refused = Promise.withResolvers<Answer>()
  const guesses = Array.from({ length: 300 }, async (_, i) => {
    const answer = await locked.request('GET', '/v2/', { headers: basic(`user:${i}`) })
    if (answer.status === 429) refused.resolve(answer)
  })
  // The rest of them are let down when the registry stops, long before their turn.
  const ended = Promise.allSettled(guesses).then(() => refused.reject(new Error('no 429')))
  const answer = await refused.promise
  t.deepEqual(errorCodes(answer), ['TOOMANYREQUESTS'])
  t.regex(answer.header('retry-after') ?? '', /^[1-9][0-9]*$/)
  await locked[Symbol.asyncDispose]()
  await ended
})

test('X1: `ns` on a pull changes nothing here, where nothing is resolved by it', async (t) => {
  const repo = anyRepo()
  const layer = blob()
  await pushBlobs(registry, repo, [layer])
  const made = await pushArtifact(registry, repo, { reference: 'latest' })
  for (const path of ['manifests/latest', `manifests/${made.digest}`, `blobs/${layer.digest}`]) {
    for (const query of ['?ns=docker.io', '?ns=', '?ns=a.example%2F..&ns=b.example']) {
      const answer = await registry.request('GET', `/v2/${repo}/${path}${query}`)
      const plain = await registry.request('GET', `/v2/${repo}/${path}`)
      t.is(answer.status, 200, path + query)
      t.deepEqual(answer.body, plain.body)
      t.is(answer.header('oci-namespace'), undefined)
    }
  }
  const absent = await registry.request('GET', `/v2/${repo}/manifests/absent?ns=docker.io`)
  t.is(absent.status, 404)
})

test('X2: credentials for somebody else are neither wanted nor shown to anyone', async (t) => {
  const repo = anyRepo()
  const headers = { Authorization: 'Bearer of-another-registry' }
  const answer = await registry.request('GET', `/v2/${repo}/manifests/a?ns=docker.io`, { headers })
  t.is(answer.status, 404)
  t.is(answer.header('www-authenticate'), undefined)
  t.notRegex(answer.body.toString(), /of-another-registry/)
  const session = await startUpload(registry, repo)
  t.notRegex(session, /of-another-registry/)
})

import test from 'ava'
import {
  anyDigest,
  anyRepo,
  blob,
  digestOf,
  emptyJson,
  image,
  index,
  manifest,
  types,
} from './content.ts'
import {
  errorCodes,
  expect,
  pushArtifact,
  pushBlobs,
  putManifest,
  registryOfFile,
} from './support.ts'

const registry = registryOfFile()
const get = (path: string, headers: Record<string, string> = {}) =>
  registry.request('GET', path, { headers })
const head = (path: string) => registry.request('HEAD', path)

test('P1: a manifest that is not there is 404, by tag and by digest', async (t) => {
  const repo = anyRepo()
  await pushArtifact(registry, repo, { reference: 'latest' })
  for (const reference of ['absent', anyDigest(), anyDigest('sha512')]) {
    const answer = await get(`/v2/${repo}/manifests/${reference}`)
    t.is(answer.status, 404)
    t.deepEqual(errorCodes(answer), ['MANIFEST_UNKNOWN'])
  }
})

test('P1: a manifest is 200 with its bytes, by tag and by digest', async (t) => {
  const repo = anyRepo()
  const { bytes, digest } = await pushArtifact(registry, repo, { reference: 'latest' })
  for (const reference of ['latest', digest]) {
    const answer = await get(`/v2/${repo}/manifests/${reference}`)
    t.is(answer.status, 200)
    t.deepEqual(answer.body, bytes)
  }
})

test('P1: a manifest of another repository is 404', async (t) => {
  const { digest } = await pushArtifact(registry, anyRepo())
  const repo = anyRepo()
  await pushArtifact(registry, repo)
  t.is((await get(`/v2/${repo}/manifests/${digest}`)).status, 404)
})

for (const algorithm of ['sha256', 'sha512'] as const) {
  test(`P2: Docker-Content-Digest of a GET is the ${algorithm} of its body`, async (t) => {
    const repo = anyRepo()
    const layer = blob(1000, { algorithm })
    const config = blob('{}', { algorithm, mediaType: types.empty })
    await pushBlobs(registry, repo, [config, layer])
    const made = image({ config, layers: [layer] }, algorithm)
    const path = `${made.digest}?tag=latest`
    expect(await putManifest(registry, repo, { ...made, reference: path }), 201)
    const paths = [`manifests/${made.digest}`, 'manifests/latest', `blobs/${layer.digest}`]
    for (const path of paths) {
      const answer = await get(`/v2/${repo}/${path}`)
      t.is(answer.header('docker-content-digest'), digestOf(answer.body, algorithm), path)
    }
  })
}

const kinds = {
  [types.image]: { config: emptyJson, layers: [] },
  [types.index]: { manifests: [] },
  [types.dockerList]: { manifests: [] },
  'application/vnd.example.thing.v1+json': { anything: true },
}
for (const [mediaType, fields] of Object.entries(kinds)) {
  test(`P3: Content-Type is as pushed, without parameters: ${mediaType}`, async (t) => {
    const repo = anyRepo()
    await pushBlobs(registry, repo, [emptyJson])
    const made =
      mediaType === types.image
        ? image({ config: emptyJson, layers: [] })
        : manifest(mediaType, fields)
    const pushed = { ...made, mediaType: `${mediaType}; charset=utf-8`, reference: 'latest' }
    expect(await putManifest(registry, repo, pushed), 201)
    for (const reference of ['latest', made.digest]) {
      const path = `/v2/${repo}/manifests/${reference}`
      t.is((await get(path)).header('content-type'), mediaType)
      t.is((await head(path)).header('content-type'), mediaType)
    }
  })
}

test('P3: a manifest without `mediaType` keeps the type it was pushed with', async (t) => {
  const repo = anyRepo()
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, manifests: [] }))
  const pushed = { bytes, digest: digestOf(bytes), mediaType: types.index, reference: 'latest' }
  expect(await putManifest(registry, repo, pushed), 201)
  t.is((await get(`/v2/${repo}/manifests/latest`)).header('content-type'), types.index)
})

for (const accept of [
  undefined,
  '*/*',
  'application/*',
  `${types.index}, ${types.image}`,
  `${types.image}; charset=utf-8;q=0.5, text/html`,
  types.dockerImage,
]) {
  test(`P4: Accept, ${accept ?? 'or none at all'}, never hides what is there`, async (t) => {
    const repo = anyRepo()
    const { bytes } = await pushArtifact(registry, repo, { reference: 'latest' })
    const answer = await get(`/v2/${repo}/manifests/latest`, accept ? { Accept: accept } : {})
    t.is(answer.status, 200)
    t.is(answer.header('content-type'), types.image)
    t.deepEqual(answer.body, bytes)
  })
}

test('P5: a blob is 200 with its bytes, and 404 where it is not', async (t) => {
  const repo = anyRepo()
  const other = anyRepo()
  const layer = blob(300_000)
  await pushBlobs(registry, repo, [layer])
  await pushBlobs(registry, other, [blob()])
  const answer = await get(`/v2/${repo}/blobs/${layer.digest}`)
  t.is(answer.status, 200)
  t.deepEqual(answer.body, layer.bytes)
  for (const path of [`${repo}/blobs/${anyDigest()}`, `${other}/blobs/${layer.digest}`]) {
    const absent = await get(`/v2/${path}`)
    t.is(absent.status, 404)
    t.deepEqual(errorCodes(absent), ['BLOB_UNKNOWN'])
  }
})

const ranges = [
  ['bytes=0-0', 0, 1],
  ['bytes=500-1499', 500, 1500],
  ['bytes=500-', 500, 2048],
  ['bytes=-500', 1548, 2048],
  ['bytes=-5000', 0, 2048],
  ['bytes=2000-5000', 2000, 2048],
  ['bytes=2047-2047', 2047, 2048],
  ['BYTES=10-19', 10, 20],
] as const
for (const [range, start, end] of ranges) {
  test(`P6: Range ${range} of 2048 bytes is 206`, async (t) => {
    const repo = anyRepo()
    const layer = blob(2048)
    await pushBlobs(registry, repo, [layer])
    const answer = await get(`/v2/${repo}/blobs/${layer.digest}`, { Range: range })
    t.is(answer.status, 206)
    t.is(answer.header('content-range'), `bytes ${start}-${end - 1}/2048`)
    t.is(answer.header('content-length'), String(end - start))
    t.deepEqual(answer.body, layer.bytes.subarray(start, end))
  })
}

test('P6: a Range with nothing in it is 416 and tells the length', async (t) => {
  const repo = anyRepo()
  const layer = blob(2048)
  await pushBlobs(registry, repo, [layer])
  for (const Range of ['bytes=2048-', 'bytes=5000-10000', 'bytes=500-0', 'bytes=-0']) {
    const answer = await get(`/v2/${repo}/blobs/${layer.digest}`, { Range })
    t.is(answer.status, 416, Range)
    t.is(answer.header('content-range'), 'bytes */2048')
  }
})

test('P6: a Range in an unknown unit is ignored, a malformed one too or refused', async (t) => {
  const repo = anyRepo()
  const layer = blob(2048)
  await pushBlobs(registry, repo, [layer])
  for (const Range of ['lines=1-2', 'bytes', 'bytes=', 'bytes=a-b', 'bytes=-']) {
    const answer = await get(`/v2/${repo}/blobs/${layer.digest}`, { Range })
    t.true((Range.startsWith('bytes') ? [200, 416] : [200]).includes(answer.status), Range)
    if (answer.status === 200) t.deepEqual(answer.body, layer.bytes)
  }
})

test('P6: If-Range gives the part only of what the client already has', async (t) => {
  const repo = anyRepo()
  const layer = blob(2048)
  await pushBlobs(registry, repo, [layer])
  const path = `/v2/${repo}/blobs/${layer.digest}`
  const etag = (await head(path)).header('etag') ?? ''
  t.is((await head(path)).header('accept-ranges'), 'bytes')
  t.is((await get(path, { Range: 'bytes=1-2', 'If-Range': etag })).status, 206)
  const other = await get(path, { Range: 'bytes=1-2', 'If-Range': '"other"' })
  t.is(other.status, 200)
  t.deepEqual(other.body, layer.bytes)
})

test('P6: several ranges at once are answered in a way that RFC 9110 allows', async (t) => {
  const repo = anyRepo()
  const layer = blob(2048)
  await pushBlobs(registry, repo, [layer])
  const answer = await get(`/v2/${repo}/blobs/${layer.digest}`, { Range: 'bytes=0-9,20-29' })
  if (answer.status === 200) t.deepEqual(answer.body, layer.bytes)
  else {
    t.is(answer.status, 206)
    t.regex(answer.header('content-type') ?? '', /^multipart\/byteranges/)
  }
})

test('P7: HEAD tells digest and length, as GET would, and has no body', async (t) => {
  const repo = anyRepo()
  const layer = blob(1234)
  await pushBlobs(registry, repo, [layer])
  const made = await pushArtifact(registry, repo, { reference: 'latest' })
  const cases = [
    [`manifests/${made.digest}`, made],
    ['manifests/latest', made],
    [`blobs/${layer.digest}`, layer],
  ] as const
  for (const [path, { bytes, digest }] of cases) {
    const answer = await head(`/v2/${repo}/${path}`)
    t.is(answer.status, 200, path)
    t.is(answer.header('content-length'), String(bytes.length))
    t.is(answer.header('docker-content-digest'), digest)
    t.is(answer.body.length, 0)
  }
})

test('P7: HEAD of what is not there is 404 without a body', async (t) => {
  const repo = anyRepo()
  await pushArtifact(registry, repo)
  for (const path of ['manifests/absent', `manifests/${anyDigest()}`, `blobs/${anyDigest()}`]) {
    const answer = await head(`/v2/${repo}/${path}`)
    t.is(answer.status, 404, path)
    t.is(answer.body.length, 0)
  }
})

test('P7: HEAD and GET of an empty blob both say that it has no bytes', async (t) => {
  const repo = anyRepo()
  const nothing = blob('')
  await pushBlobs(registry, repo, [nothing])
  for (const method of ['HEAD', 'GET']) {
    const answer = await registry.request(method, `/v2/${repo}/blobs/${nothing.digest}`)
    t.is(answer.status, 200)
    t.is(answer.header('content-length'), '0')
  }
})

test('P8: whatever is pulled from an unknown repository is 404', async (t) => {
  const repo = anyRepo()
  const { digest } = index([])
  for (const path of ['manifests/latest', `manifests/${digest}`, `blobs/${digest}`, 'tags/list']) {
    t.is((await get(`/v2/${repo}/${path}`)).status, 404, path)
    t.is((await head(`/v2/${repo}/${path}`)).status, 404, path)
  }
})

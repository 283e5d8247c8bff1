import test from 'ava'
import fc from 'fast-check'
import {
  anyDigest,
  anyRepo,
  blob,
  descriptor,
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
  manifestsOf,
  pushArtifact,
  pushBlobs,
  putManifest,
  registryOfFile,
  target,
} from './support.ts'

const registry = registryOfFile()
const absentSubject = () => ({ mediaType: types.image, digest: anyDigest(), size: 123 })
const statusOf = async (repo: string, reference: string) =>
  (await registry.request('HEAD', `/v2/${repo}/manifests/${reference}`)).status

for (const kind of ['image', 'index'] as const) {
  test(`U1: an ${kind} whose subject is not there (yet) is accepted`, async (t) => {
    const repo = anyRepo()
    await pushBlobs(registry, repo, [emptyJson])
    const subject = absentSubject()
    const fields = { config: emptyJson, layers: [emptyJson], subject }
    const made = kind === 'image' ? image(fields) : index([], { subject })
    const answer = await putManifest(registry, repo, { ...made, reference: 'latest' })
    t.is(answer.status, 201)
    t.is(answer.header('oci-subject'), subject.digest)
    t.is(await statusOf(repo, 'latest'), 200)
  })
}

for (const missing of ['config', 'layer'] as const) {
  test(`U2: a manifest without its ${missing} is MANIFEST_BLOB_UNKNOWN and is not kept`, async (t) => {
    const repo = anyRepo()
    const layer = blob()
    const config = blob('{"a":1}')
    await pushBlobs(registry, repo, missing === 'config' ? [layer] : [config])
    const made = image({ config, layers: [layer] })
    const answer = await putManifest(registry, repo, { ...made, reference: 'latest' })
    t.is(answer.status, 400)
    t.true(errorCodes(answer).includes('MANIFEST_BLOB_UNKNOWN'))
    t.is(await statusOf(repo, made.digest), 404)
    t.is(await statusOf(repo, 'latest'), 404)
  })
}

test('U2: a blob that only another repository has is missing here', async (t) => {
  const repo = anyRepo()
  const layer = blob()
  await pushBlobs(registry, anyRepo(), [layer])
  await pushBlobs(registry, repo, [emptyJson])
  const answer = await putManifest(registry, repo, image({ config: emptyJson, layers: [layer] }))
  t.is(answer.status, 400)
  t.true(errorCodes(answer).includes('MANIFEST_BLOB_UNKNOWN'))
})

test('U2: an index without a child is kept, or refused as MANIFEST_BLOB_UNKNOWN', async (t) => {
  const repo = anyRepo()
  const there = await pushArtifact(registry, repo)
  const made = index([there, image({ config: emptyJson, layers: [blob()] })])
  const answer = await putManifest(registry, repo, made)
  if (answer.status === 201) t.is(await statusOf(repo, made.digest), 200)
  else {
    t.is(answer.status, 400)
    t.true(errorCodes(answer).includes('MANIFEST_BLOB_UNKNOWN'))
    t.is(await statusOf(repo, made.digest), 404)
  }
})

test('U2: a layer that is elsewhere, as its `urls` say, need not be here', async (t) => {
  const repo = anyRepo()
  await pushBlobs(registry, repo, [emptyJson])
  const foreign = descriptor(blob(1, { mediaType: types.foreignLayer }), {
    urls: ['https://store.example/layer'],
  })
  const made = manifest(types.image, { config: descriptor(emptyJson), layers: [foreign] })
  t.is((await putManifest(registry, repo, made)).status, 201)
})

for (const algorithm of ['sha256', 'sha512'] as const) {
  test(`U3: a manifest of another ${algorithm} digest is 400 and is not kept`, async (t) => {
    const repo = anyRepo()
    const made = await pushArtifact(registry, repo)
    const reference = anyDigest(algorithm)
    const answer = await putManifest(registry, repo, { ...made, reference })
    t.is(answer.status, 400)
    t.deepEqual(errorCodes(answer), ['DIGEST_INVALID'])
    t.is(await statusOf(repo, reference), 404)
  })
}

for (const reference of [
  'sha256:baddigeststring',
  `md5:${'a'.repeat(32)}`,
  `sha384:${'a'.repeat(96)}`,
]) {
  test(`U3: no manifest can be pushed as ${reference.slice(0, 22)}`, async (t) => {
    const repo = anyRepo()
    const made = await pushArtifact(registry, repo)
    const answer = await putManifest(registry, repo, { ...made, reference })
    t.is(answer.status, 400)
    t.deepEqual(errorCodes(answer), ['DIGEST_INVALID'])
    t.true([400, 404].includes(await statusOf(repo, reference)))
  })
}

test('U19: a manifest is kept byte for byte, however it is written', async (t) => {
  const repo = anyRepo()
  await pushBlobs(registry, repo, [emptyJson])
  const config = descriptor(emptyJson)
  const property = fc.asyncProperty(
    fc.dictionary(fc.string({ maxLength: 8 }), fc.jsonValue({ maxDepth: 2 }), { maxKeys: 4 }),
    fc.constantFrom('', ' ', '\n', '\t', '\r\n  '),
    fc.nat(4),
    async (custom, space, indent) => {
      const fields = { schemaVersion: 2, mediaType: types.image, config, layers: [], custom }
      const bytes = Buffer.from(space + JSON.stringify(fields, null, indent) + space)
      const made = { bytes, digest: digestOf(bytes), mediaType: types.image }
      const answer = expect(await putManifest(registry, repo, made), 201)
      const path = target(registry, answer.header('location'))
      return (await registry.request('GET', path)).body.equals(bytes)
    },
  )
  await t.notThrowsAsync(fc.assert(property, { numRuns: 30 }))
})

test('U19: a manifest is 201, and its Location gives the manifest', async (t) => {
  const repo = anyRepo()
  await pushBlobs(registry, repo, [emptyJson])
  const made = image({ config: emptyJson, layers: [emptyJson] })
  for (const reference of [made.digest, 'latest']) {
    const answer = await putManifest(registry, repo, { ...made, reference })
    t.is(answer.status, 201)
    const found = await registry.request('GET', target(registry, answer.header('location')))
    t.is(found.status, 200)
    t.deepEqual(found.body, made.bytes)
  }
})

test('U19: the list of blobs may be empty', async (t) => {
  const repo = anyRepo()
  await pushBlobs(registry, repo, [emptyJson])
  const made = [image({ config: emptyJson, layers: [] }), index([])]
  for (const one of made) t.is((await putManifest(registry, repo, one)).status, 201)
})

for (const algorithm of ['sha256', 'sha512'] as const) {
  test(`U20: Docker-Content-Digest of a PUT by ${algorithm} is the digest the client gave`, async (t) => {
    const repo = anyRepo()
    await pushBlobs(registry, repo, [emptyJson])
    const made = image({ config: emptyJson, layers: [] }, algorithm)
    const answer = await putManifest(registry, repo, made)
    t.is(answer.status, 201)
    t.is(answer.header('docker-content-digest'), made.digest)
    t.is(await statusOf(repo, made.digest), 200)
  })
}

test('U20: it is the sha256 where the client gave a tag', async (t) => {
  const repo = anyRepo()
  const made = await pushArtifact(registry, repo)
  const answer = await putManifest(registry, repo, { ...made, reference: 'latest' })
  t.is(answer.header('docker-content-digest'), digestOf(made.bytes))
})

test('U21: parameters of Content-Type are ignored', async (t) => {
  const repo = anyRepo()
  await pushBlobs(registry, repo, [emptyJson])
  for (const parameters of ['; charset=utf-8', ';charset="utf-8";v=1', ' ; a=b']) {
    const made = image({ config: emptyJson, layers: [], annotations: { parameters } })
    const pushed = { ...made, mediaType: types.image + parameters }
    t.is((await putManifest(registry, repo, pushed)).status, 201, parameters)
  }
})

test('U22: a Content-Type other than the `mediaType` within is MANIFEST_INVALID', async (t) => {
  const repo = anyRepo()
  await pushBlobs(registry, repo, [emptyJson])
  const made = image({ config: emptyJson, layers: [] })
  for (const mediaType of [types.index, types.dockerImage]) {
    const answer = await putManifest(registry, repo, { ...made, mediaType })
    t.is(answer.status, 400, mediaType)
    t.deepEqual(errorCodes(answer), ['MANIFEST_INVALID'])
    t.is(await statusOf(repo, made.digest), 404)
  }
})

test('U25: a manifest with a subject is answered with OCI-Subject, any other without', async (t) => {
  const repo = anyRepo()
  const subject = descriptor(await pushArtifact(registry, repo))
  const pushed = [
    image({ config: emptyJson, layers: [], subject }),
    index([], { subject }),
    index([], { subject, artifactType: types.artifactOne }),
  ]
  for (const made of pushed) {
    for (const reference of [made.digest, 'latest']) {
      const answer = await putManifest(registry, repo, { ...made, reference })
      t.is(answer.header('oci-subject'), subject.digest)
    }
  }
  t.is((await putManifest(registry, repo, index([]))).header('oci-subject'), undefined)
})

test('U26: a client that keeps a tag-schema index finds it as it left it, and we list what is in it', async (t) => {
  const repo = anyRepo()
  const subject = await pushArtifact(registry, repo)
  const referrer = await pushArtifact(registry, repo, { subject: descriptor(subject) })
  const reference = subject.digest.replace(':', '-')
  const tagged = `/v2/${repo}/manifests/${reference}`
  t.is((await registry.request('GET', tagged)).status, 404)
  const entry = descriptor(referrer, { artifactType: types.empty })
  const list = manifest(types.index, { manifests: [entry] })
  expect(await putManifest(registry, repo, { ...list, reference }), 201)
  t.deepEqual((await registry.request('GET', tagged)).body, list.bytes)
  const listed = manifestsOf(
    await registry.request('GET', `/v2/${repo}/referrers/${subject.digest}`),
  )
  t.deepEqual(
    listed.map(({ digest }) => digest),
    [referrer.digest],
  )
})

import test from 'ava'
import { anyDigest, anyRepo, blob, descriptor, manifest, types } from './content.ts'
import {
  errorCodes,
  expect,
  manifestsOf,
  openRegistry,
  pushArtifact,
  pushBlobs,
  putManifest,
  registryOfFile,
  tagsOf,
} from './support.ts'

const registry = registryOfFile()
const remove = (path: string) => registry.request('DELETE', `/v2/${path}`)
const statusOf = async (path: string) => (await registry.request('GET', `/v2/${path}`)).status

test('M1: a tag is deleted with 202 and gone at once; the manifest and its other tags stay', async (t) => {
  const repo = anyRepo()
  const made = await pushArtifact(registry, repo, { reference: 'one' })
  expect(await putManifest(registry, repo, { ...made, reference: 'two' }), 201)
  t.is((await remove(`${repo}/manifests/one`)).status, 202)
  t.is(await statusOf(`${repo}/manifests/one`), 404)
  t.is(await statusOf(`${repo}/manifests/two`), 200)
  t.is(await statusOf(`${repo}/manifests/${made.digest}`), 200)
  t.deepEqual(tagsOf(await registry.request('GET', `/v2/${repo}/tags/list`)), ['two'])
})

test('M1: a tag that is not there is 404', async (t) => {
  const repo = anyRepo()
  await pushArtifact(registry, repo, { reference: 'latest' })
  for (const path of [`${repo}/manifests/absent`, `${anyRepo()}/manifests/latest`]) {
    t.is((await remove(path)).status, 404)
  }
  expect(await remove(`${repo}/manifests/latest`), 202)
  t.is((await remove(`${repo}/manifests/latest`)).status, 404)
})

test('M1: a tag that was deleted can be pushed again', async (t) => {
  const repo = anyRepo()
  const made = await pushArtifact(registry, repo, { reference: 'latest' })
  expect(await remove(`${repo}/manifests/latest`), 202)
  expect(await putManifest(registry, repo, { ...made, reference: 'latest' }), 201)
  t.is(await statusOf(`${repo}/manifests/latest`), 200)
})

for (const algorithm of ['sha256', 'sha512'] as const) {
  test(`M2: a manifest of ${algorithm} is deleted with 202 and gone at once, with every tag on it`, async (t) => {
    const repo = anyRepo()
    const other = await pushArtifact(registry, repo, { reference: 'other' })
    const made = manifest(types.index, { manifests: [], annotations: { repo } }, algorithm)
    const reference = `${made.digest}?tag=one&tag=two`
    expect(await putManifest(registry, repo, { ...made, reference }), 201)
    t.is((await remove(`${repo}/manifests/${made.digest}`)).status, 202)
    for (const gone of [made.digest, 'one', 'two']) {
      t.is(await statusOf(`${repo}/manifests/${gone}`), 404, gone)
    }
    t.is(await statusOf(`${repo}/manifests/${other.digest}`), 200)
    t.deepEqual(tagsOf(await registry.request('GET', `/v2/${repo}/tags/list`)), ['other'])
  })
}

test('M2: a manifest that is not there, or whose repository is not, is 404', async (t) => {
  const repo = anyRepo()
  const { digest } = await pushArtifact(registry, repo)
  t.is((await remove(`${anyRepo()}/manifests/${digest}`)).status, 404)
  t.is((await remove(`${repo}/manifests/${anyDigest()}`)).status, 404)
  expect(await remove(`${repo}/manifests/${digest}`), 202)
  t.is((await remove(`${repo}/manifests/${digest}`)).status, 404)
})

test('M2: another repository keeps its manifest of the same digest', async (t) => {
  const [repo, other] = [anyRepo(), anyRepo()]
  const made = await pushArtifact(registry, repo)
  await pushArtifact(registry, other)
  expect(await putManifest(registry, other, { ...made, reference: 'latest' }), 201)
  expect(await remove(`${repo}/manifests/${made.digest}`), 202)
  t.is(await statusOf(`${other}/manifests/${made.digest}`), 200)
  t.is(await statusOf(`${other}/manifests/latest`), 200)
})

for (const algorithm of ['sha256', 'sha512'] as const) {
  test(`M3: a blob of ${algorithm} is deleted with 202 and gone at once`, async (t) => {
    const [repo, other] = [anyRepo(), anyRepo()]
    const layer = blob(512, { algorithm })
    for (const name of [repo, other]) await pushBlobs(registry, name, [layer])
    t.is((await remove(`${repo}/blobs/${layer.digest}`)).status, 202)
    t.is(await statusOf(`${repo}/blobs/${layer.digest}`), 404)
    t.is(await statusOf(`${other}/blobs/${layer.digest}`), 200)
    await pushBlobs(registry, repo, [layer])
    t.is(await statusOf(`${repo}/blobs/${layer.digest}`), 200)
  })
}

test('M3: a blob that is not there is 404', async (t) => {
  const repo = anyRepo()
  const layer = blob()
  await pushBlobs(registry, repo, [layer])
  t.is((await remove(`${anyRepo()}/blobs/${layer.digest}`)).status, 404)
  expect(await remove(`${repo}/blobs/${layer.digest}`), 202)
  for (const digest of [layer.digest, anyDigest()]) {
    const answer = await remove(`${repo}/blobs/${digest}`)
    t.is(answer.status, 404)
    t.deepEqual(errorCodes(answer), ['BLOB_UNKNOWN'])
  }
})

for (const [id, path] of [
  ['M1', 'manifests/latest'],
  ['M2', 'manifests/<digest>'],
  ['M3', 'blobs/<digest>'],
] as const) {
  test(`${id}: where deletion is disabled, DELETE of ${path} is 405 and deletes nothing`, async (t) => {
    await using keeping = await openRegistry({ 'storage.delete.enabled': 'false' })
    const repo = anyRepo()
    const layer = blob()
    await pushBlobs(keeping, repo, [layer])
    const made = await pushArtifact(keeping, repo, { reference: 'latest' })
    const { digest } = path.startsWith('blobs') ? layer : made
    const full = `/v2/${repo}/${path.replace('<digest>', digest)}`
    const answer = await keeping.request('DELETE', full)
    t.is(answer.status, 405)
    t.deepEqual(errorCodes(answer), ['UNSUPPORTED'])
    t.is((await keeping.request('GET', full)).status, 200)
  })
}

test('M4: a referrer that is deleted is not listed any more, its siblings are', async (t) => {
  const repo = anyRepo()
  const subject = await pushArtifact(registry, repo)
  const gone = await pushArtifact(registry, repo, { subject: descriptor(subject) })
  const stays = await pushArtifact(registry, repo, { subject: descriptor(subject) })
  expect(await remove(`${repo}/manifests/${gone.digest}`), 202)
  const answer = await registry.request('GET', `/v2/${repo}/referrers/${subject.digest}`)
  t.deepEqual(
    manifestsOf(answer).map(({ digest }) => digest),
    [stays.digest],
  )
})

test('M4: nor is it listed if a tag-schema index, which nobody has to mend, still names it', async (t) => {
  const repo = anyRepo()
  const subject = await pushArtifact(registry, repo)
  const gone = await pushArtifact(registry, repo, { subject: descriptor(subject) })
  const list = manifest(types.index, { manifests: [descriptor(gone)] })
  const reference = subject.digest.replace(':', '-')
  expect(await putManifest(registry, repo, { ...list, reference }), 201)
  expect(await remove(`${repo}/manifests/${gone.digest}`), 202)
  const answer = await registry.request('GET', `/v2/${repo}/referrers/${subject.digest}`)
  t.deepEqual(manifestsOf(answer), [])
})

test('M4: referrers are listed on after their subject is deleted', async (t) => {
  const repo = anyRepo()
  const subject = await pushArtifact(registry, repo)
  const referrer = await pushArtifact(registry, repo, { subject: descriptor(subject) })
  expect(await remove(`${repo}/manifests/${subject.digest}`), 202)
  const answer = await registry.request('GET', `/v2/${repo}/referrers/${subject.digest}`)
  t.is(manifestsOf(answer)[0]?.digest, referrer.digest)
})

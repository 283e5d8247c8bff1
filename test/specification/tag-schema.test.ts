import test from 'ava'
import {
  anyRepo,
  type Content,
  type Descriptor,
  descriptor,
  emptyJson,
  image,
  manifest,
  types,
} from './content.ts'
import {
  expect,
  manifestsOf,
  pushArtifact,
  pushBlobs,
  putManifest,
  registryOfFile,
} from './support.ts'

const registry = registryOfFile()
const referrersOf = (repo: string, digest: string, query = '') =>
  registry.request('GET', `/v2/${repo}/referrers/${digest}${query}`)
const listed = async (repo: string, digest: string, query = '') =>
  manifestsOf(expect(await referrersOf(repo, digest, query), 200))
const byDigest = (a: { digest: string }, b: { digest: string }) => (a.digest < b.digest ? -1 : 1)

async function push(repo: string, made: Content): Promise<Content> {
  expect(await putManifest(registry, repo, made), 201)
  return made
}

/** Tags an index of referrers as clients do where there is no referrers API. */
async function tagList(repo: string, subject: Content, entries: readonly Descriptor[]) {
  const reference = subject.digest.replace(':', '-').slice(0, 7 + 64)
  const list = manifest(types.index, { manifests: entries })
  expect(await putManifest(registry, repo, { ...list, reference }), 201)
  return { list, reference }
}

for (const algorithm of ['sha256', 'sha512'] as const) {
  test(`R7: the tag that clients fall back to for a ${algorithm} subject works as any other`, async (t) => {
    const repo = anyRepo()
    await pushBlobs(registry, repo, [emptyJson])
    const subject = await push(repo, image({ config: emptyJson, layers: [] }, algorithm))
    const referrer = await pushArtifact(registry, repo)
    const { list, reference } = await tagList(repo, subject, [descriptor(referrer)])
    t.deepEqual(
      (await registry.request('GET', `/v2/${repo}/manifests/${reference}`)).body,
      list.bytes,
    )
    const found = await listed(repo, subject.digest)
    t.deepEqual(
      found.map(({ digest }) => digest),
      [referrer.digest],
    )
  })
}

test('R8: a referrer that a tag-schema index lists is served, and listed under its type', async (t) => {
  const repo = anyRepo()
  const subject = await pushArtifact(registry, repo)
  const annotations = { 'org.example.by': 'an old client' }
  const fields = { subject: descriptor(subject), artifactType: types.artifactOne, annotations }
  const old = await pushArtifact(registry, repo, fields)
  const entry = descriptor(old, { artifactType: types.artifactOne, annotations })
  await tagList(repo, subject, [entry])
  t.deepEqual(await listed(repo, subject.digest), [entry])
  t.deepEqual(await listed(repo, subject.digest, `?artifactType=${types.artifactOne}`), [entry])
  t.deepEqual(await listed(repo, subject.digest, `?artifactType=${types.artifactTwo}`), [])
})

test('R8: what a tag-schema index says wrongly of a manifest is not repeated', async (t) => {
  const repo = anyRepo()
  const subject = await pushArtifact(registry, repo)
  const annotations = { 'org.example.true': 'yes' }
  const fields = { artifactType: types.artifactOne, annotations }
  const old = await pushArtifact(registry, repo, { subject: descriptor(subject), ...fields })
  const lies = { artifactType: types.artifactTwo, annotations: { 'org.example.true': 'no' } }
  await tagList(repo, subject, [descriptor(old, { ...lies, size: 1 })])
  t.deepEqual(await listed(repo, subject.digest), [descriptor(old, fields)])
})

test('R8: new pushes join what a tag-schema index lists, and nothing is listed twice', async (t) => {
  const repo = anyRepo()
  const subject = await pushArtifact(registry, repo)
  const old = await pushArtifact(registry, repo)
  const both = await pushArtifact(registry, repo, { subject: descriptor(subject) })
  await tagList(repo, subject, [descriptor(old), descriptor(both)])
  const fresh = await pushArtifact(registry, repo, { subject: descriptor(subject) })
  const found = (await listed(repo, subject.digest)).map(({ digest }) => digest)
  t.deepEqual(
    found.toSorted(),
    [old, both, fresh].toSorted(byDigest).map(({ digest }) => digest),
  )
})

test('R8: something else under the tag of the tag schema does no harm', async (t) => {
  const repo = anyRepo()
  const subject = await pushArtifact(registry, repo)
  const referrer = await pushArtifact(registry, repo, { subject: descriptor(subject) })
  const reference = subject.digest.replace(':', '-')
  await pushArtifact(registry, repo, { reference })
  const found = await listed(repo, subject.digest)
  t.deepEqual(
    found.map(({ digest }) => digest),
    [referrer.digest],
  )
  t.is((await registry.request('GET', `/v2/${repo}/tags/list`)).status, 200)
})

import test, { type ExecutionContext } from 'ava'
import { ways } from './blob-pushes.ts'
import { type DataSet, expectedReferrers, kinds } from './conformance-data.ts'
import { anyDigest, anyRepo, type Content, emptyJson, image, types } from './content.ts'
import {
  type Answer,
  expect,
  manifestsOf,
  membersOf,
  pushBlobs,
  putManifest,
  registryOfFile,
  tagsOf,
  target,
} from './support.ts'

/*
 * The run of the OCI conformance program, in its development version, told again in our words: every
 * kind of content is pushed, listed, pulled, looked for by its subject and deleted.
 */
const registry = registryOfFile()
const accept = { Accept: `${types.index}, ${types.image}` }
const ask = (method: string, path: string) => registry.request(method, path, { headers: accept })

type Step = (t: ExecutionContext, repo: string, data: DataSet) => Promise<void>

function isManifest(
  t: ExecutionContext,
  answer: Answer,
  { bytes, digest, mediaType }: Content,
): void {
  t.is(answer.status, 200)
  t.is(answer.header('content-type'), mediaType)
  t.is(answer.header('content-length'), String(bytes.length))
  t.is(answer.header('docker-content-digest'), digest)
}

async function isPushed(t: ExecutionContext, answer: Answer, content: Content): Promise<void> {
  t.is(answer.status, 201, answer.body.toString())
  t.is(answer.header('docker-content-digest'), content.digest)
  const found = await ask('GET', target(registry, answer.header('location')))
  t.is(found.status, 200)
  t.true(found.body.equals(content.bytes))
}

const push: Step = async (t, repo, { blobs, manifests, tags, tagParameters }) => {
  const turns = Object.values(ways)
  for (const [i, one] of blobs.entries()) {
    const way = turns[i % turns.length]
    if (way !== undefined) await isPushed(t, await way(registry, repo, one), one)
  }
  for (const made of manifests) {
    const names = Object.keys(tags).filter((tag) => tagParameters && tags[tag] === made)
    const reference = `${made.digest}?${names.map((tag) => `tag=${tag}`).join('&')}`
    const answer = await putManifest(registry, repo, { ...made, reference })
    await isPushed(t, answer, made)
    const { subject } = JSON.parse(made.bytes.toString())
    t.is(answer.header('oci-subject'), subject?.digest)
    t.deepEqual(membersOf(answer, 'oci-tag'), names.toSorted())
  }
  for (const [reference, made] of tagParameters ? [] : Object.entries(tags)) {
    await isPushed(t, await putManifest(registry, repo, { ...made, reference }), made)
  }
}

const list: Step = async (t, repo, { tags }) => {
  const wanted = Object.keys(tags).toSorted()
  if (wanted.length === 0) return
  t.deepEqual(tagsOf(await ask('GET', `/v2/${repo}/tags/list`)), wanted)
  const middle = wanted.length >> 1
  const [last] = wanted.slice(middle)
  const rest = tagsOf(await ask('GET', `/v2/${repo}/tags/list?last=${last}`))
  t.deepEqual(rest, wanted.slice(middle + 1))
}

const pull: Step = async (t, repo, { blobs, manifests, tags }) => {
  const named = [...Object.entries(tags), ...manifests.map((made) => [made.digest, made] as const)]
  for (const [reference, made] of named) {
    const path = `/v2/${repo}/manifests/${reference}`
    const [headed, pulled] = [await ask('HEAD', path), await ask('GET', path)]
    isManifest(t, headed, made)
    t.is(headed.body.length, 0)
    isManifest(t, pulled, made)
    t.true(pulled.body.equals(made.bytes))
  }
  for (const { bytes, digest } of blobs) {
    for (const method of ['HEAD', 'GET']) {
      const answer = await ask(method, `/v2/${repo}/blobs/${digest}`)
      t.is(answer.status, 200)
      t.is(answer.header('content-length'), String(bytes.length))
      t.is(answer.header('docker-content-digest'), digest)
      t.true(answer.body.equals(method === 'GET' ? bytes : Buffer.alloc(0)))
    }
  }
}

const refer: Step = async (t, repo, data) => {
  for (const [subject, wanted] of expectedReferrers(data)) {
    const path = `/v2/${repo}/referrers/${subject}`
    const answer = await ask('GET', path)
    t.is(answer.status, 200)
    t.is(answer.header('content-type'), types.index)
    const byDigest = (some: readonly { digest: string }[]) =>
      some.toSorted((a, b) => (a.digest < b.digest ? -1 : 1))
    t.deepEqual(byDigest(manifestsOf(answer)), byDigest(wanted))
    for (const { artifactType } of wanted) {
      if (artifactType === undefined) continue
      const filtered = await ask('GET', `${path}?artifactType=${encodeURIComponent(artifactType)}`)
      t.is(filtered.header('oci-filters-applied'), 'artifactType')
      const some = wanted.filter((entry) => entry.artifactType === artifactType)
      t.deepEqual(byDigest(manifestsOf(filtered)), byDigest(some))
    }
  }
}

const remove: Step = async (t, repo, { blobs, manifests, tags }) => {
  const paths = [
    ...Object.keys(tags).map((tag) => `manifests/${tag}`),
    ...manifests.toReversed().map(({ digest }) => `manifests/${digest}`),
    ...blobs.map(({ digest }) => `blobs/${digest}`),
  ]
  for (const path of paths) {
    t.is((await ask('DELETE', `/v2/${repo}/${path}`)).status, 202, path)
    t.is((await ask('HEAD', `/v2/${repo}/${path}`)).status, 404, path)
  }
  const answer = await ask('GET', `/v2/${repo}/tags/list`)
  t.true(answer.status === 404 || tagsOf(answer).length === 0)
}

for (const [kind, make] of Object.entries(kinds)) {
  test(`conformance: ${kind}: pushed, listed, pulled, referred to and deleted`, async (t) => {
    const repo = anyRepo()
    const data = make()
    for (const step of [push, list, pull, refer, remove]) await step(t, repo, data)
  })
}

test('conformance: an empty registry is there, has no tags and no referrers', async (t) => {
  const repo = anyRepo()
  t.is((await ask('GET', '/v2/')).status, 200)
  t.is((await ask('GET', `/v2/${repo}/tags/list`)).status, 404)
  const answer = await ask('GET', `/v2/${repo}/referrers/${anyDigest()}`)
  t.is(answer.status, 200)
  t.deepEqual(JSON.parse(answer.body.toString()), {
    ...{ schemaVersion: 2, mediaType: types.index, manifests: [] },
  })
})

test('conformance: a manifest with blanks after what its digest is of is 400', async (t) => {
  const repo = anyRepo()
  await pushBlobs(registry, repo, [emptyJson])
  const made = image({ config: emptyJson, layers: [] })
  const bytes = Buffer.concat([made.bytes, Buffer.from('  ')])
  t.is((await putManifest(registry, repo, { ...made, bytes })).status, 400)
  t.is((await ask('HEAD', `/v2/${repo}/manifests/${made.digest}`)).status, 404)
})

test('conformance: a digest that is none is 400 to push, and 404 or 400 to pull', async (t) => {
  const repo = anyRepo()
  await pushBlobs(registry, repo, [emptyJson])
  const made = image({ config: emptyJson, layers: [] })
  const reference = 'sha256:baddigeststring'
  t.is((await putManifest(registry, repo, { ...made, reference })).status, 400)
  const { status } = await ask('GET', `/v2/${repo}/manifests/${reference}`)
  t.true([400, 404].includes(status))
})

test('conformance: manifests that are not there are 404, by digest and by tag', async (t) => {
  const repo = anyRepo()
  expect(
    await putManifest(
      registry,
      repo,
      (kinds['an index of nothing']?.().manifests ?? [])[0] ?? emptyJson,
    ),
    201,
  )
  for (const reference of [anyDigest(), anyDigest('sha512'), 'missing-tag']) {
    t.is((await ask('GET', `/v2/${repo}/manifests/${reference}`)).status, 404)
  }
})

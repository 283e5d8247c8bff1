import test from 'ava'
import { anyRepo, digestOf, emptyJson, image, types } from './content.ts'
import { errorCodes, membersOf, pushBlobs, putManifest, registryOfFile, tagsOf } from './support.ts'

const registry = registryOfFile()
const statusOf = async (repo: string, reference: string) =>
  (await registry.request('HEAD', `/v2/${repo}/manifests/${reference}`)).status

for (const algorithm of ['sha256', 'sha512'] as const) {
  test(`U23: a push by ${algorithm} sets ten tags at once and names each in OCI-Tag`, async (t) => {
    const repo = anyRepo()
    await pushBlobs(registry, repo, [emptyJson])
    const made = image({ config: emptyJson, layers: [] }, algorithm)
    const wanted = Array.from({ length: 10 }, (_, i) => `tag-${i}`)
    const query = wanted.map((tag) => `tag=${tag}`).join('&')
    const reference = `${made.digest}?${query}`
    const answer = await putManifest(registry, repo, { ...made, reference })
    t.is(answer.status, 201)
    t.deepEqual(membersOf(answer, 'oci-tag'), wanted)
    for (const tag of wanted) {
      const found = await registry.request('GET', `/v2/${repo}/manifests/${tag}`)
      t.is(found.header('docker-content-digest'), made.digest)
      t.deepEqual(found.body, made.bytes)
    }
  })
}

test('U23: a tag that is none refuses the whole push', async (t) => {
  const repo = anyRepo()
  await pushBlobs(registry, repo, [emptyJson])
  const made = image({ config: emptyJson, layers: [] })
  const reference = `${made.digest}?tag=good&tag=-bad`
  const answer = await putManifest(registry, repo, { ...made, reference })
  t.is(answer.status, 400)
  t.is(await statusOf(repo, 'good'), 404)
})

test('U23: more tags than we take are 414, or each is set and named', async (t) => {
  const repo = anyRepo()
  await pushBlobs(registry, repo, [emptyJson])
  const made = image({ config: emptyJson, layers: [] })
  const wanted = Array.from({ length: 500 }, (_, i) => `tag-${i}`)
  const reference = `${made.digest}?${wanted.map((tag) => `tag=${tag}`).join('&')}`
  const answer = await putManifest(registry, repo, { ...made, reference })
  if (answer.status !== 201) t.true([414, 431].includes(answer.status), String(answer.status))
  const set = answer.status === 201 ? wanted.toSorted() : []
  t.deepEqual(membersOf(answer, 'oci-tag'), set)
  const list = await registry.request('GET', `/v2/${repo}/tags/list`)
  t.deepEqual(list.status === 200 ? tagsOf(list) : [], set)
})

const padded = (length: number) => {
  const made = image({ config: emptyJson, layers: [] })
  const bytes = Buffer.concat([made.bytes, Buffer.alloc(length - made.bytes.length, ' ')])
  return { ...made, bytes, digest: digestOf(bytes) }
}

test('U24: a manifest of 4 MiB is taken', async (t) => {
  const repo = anyRepo()
  await pushBlobs(registry, repo, [emptyJson])
  const made = padded(4 * 1024 * 1024)
  t.is((await putManifest(registry, repo, made)).status, 201)
  const found = await registry.request('GET', `/v2/${repo}/manifests/${made.digest}`)
  t.true(found.body.equals(made.bytes))
})

for (const coding of ['with its length', 'chunked'] as const) {
  test(`U24: a manifest past the limit, sent ${coding}, is 413`, async (t) => {
    const repo = anyRepo()
    await pushBlobs(registry, repo, [emptyJson])
    const { bytes, digest } = padded(5 * 1024 * 1024)
    const answer = await registry.request('PUT', `/v2/${repo}/manifests/${digest}`, {
      headers: { 'Content-Type': types.image },
      ...(coding === 'chunked' ? { pieces: [bytes] } : { body: bytes }),
    })
    t.is(answer.status, 413)
    t.deepEqual(errorCodes(answer), ['SIZE_INVALID'])
    t.is(await statusOf(repo, digest), 404)
  })
}

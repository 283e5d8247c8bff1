import test from 'ava'
import fc from 'fast-check'
import { anyRepo } from './content.ts'
import { errorCodes, expect, pushArtifact, putManifest, registryOfFile } from './support.ts'

const registry = registryOfFile()

const badNames = [
  'A',
  'a..b',
  'a___b',
  '-a',
  'a-',
  'a.',
  '.a',
  'a/-b',
  'a/B',
  'ä',
  'a b',
  'a:b',
  'a@b',
]
for (const name of [...badNames, 'a'.repeat(256)]) {
  test(`G2: ${name.slice(0, 12)} (${name.length} characters) is no repository name`, async (t) => {
    const path = name.split('/').map(encodeURIComponent).join('/')
    const answer = await registry.request('POST', `/v2/${path}/blobs/uploads/`)
    t.is(answer.status, 400)
    t.deepEqual(errorCodes(answer), ['NAME_INVALID'])
  })
}

test('G2: every name of the grammar is a repository', async (t) => {
  const word = fc.stringMatching(/^[a-z0-9]{1,8}$/)
  const separator = fc.oneof(fc.constantFrom('.', '_', '__', '-'), fc.stringMatching(/^-{2,5}$/))
  const component = fc
    .tuple(word, fc.array(fc.tuple(separator, word), { maxLength: 3 }))
    .map(([first, rest]) => first + rest.flat().join(''))
  const name = fc.array(component, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/'))
  const used = ['blobs', 'manifests', 'tags/list', 'uploads', 'referrers', 'v2', 'a'.repeat(255)]
  const property = fc.asyncProperty(name, async (repo) => {
    const { digest } = await pushArtifact(registry, repo, { reference: 'latest' })
    const found = await registry.request('GET', `/v2/${repo}/manifests/latest`)
    return found.status === 200 && found.header('docker-content-digest') === digest
  })
  const examples = used.map((repo): [string] => [repo])
  await t.notThrowsAsync(fc.assert(property, { numRuns: 40, examples }))
})

test('G2: every tag of the grammar names a manifest, up to 128 characters', async (t) => {
  const repo = anyRepo()
  const made = await pushArtifact(registry, repo)
  const tag = fc.stringMatching(/^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,30}$/)
  const property = fc.asyncProperty(tag, async (reference) => {
    expect(await putManifest(registry, repo, { ...made, reference }), 201)
    const found = await registry.request('HEAD', `/v2/${repo}/manifests/${reference}`)
    return found.status === 200 && found.header('docker-content-digest') === made.digest
  })
  const examples = ['_', '0', 'latest', '_.-', 'a'.repeat(128)].map((text): [string] => [text])
  await t.notThrowsAsync(fc.assert(property, { numRuns: 40, examples }))
})

for (const reference of ['.a', '-a', 'a+b', 'a b', 'ä', 'a'.repeat(129), 'sha256:short', 'a:b']) {
  const title = reference.length > 20 ? `a tag of ${reference.length} characters` : reference
  test(`G2: ${title} is no reference, neither to push nor to pull`, async (t) => {
    const repo = anyRepo()
    const made = await pushArtifact(registry, repo)
    const path = encodeURIComponent(reference)
    const pushed = await putManifest(registry, repo, { ...made, reference: path })
    t.is(pushed.status, 400)
    const pulled = await registry.request('GET', `/v2/${repo}/manifests/${path}`)
    t.true([400, 404].includes(pulled.status), String(pulled.status))
  })
}

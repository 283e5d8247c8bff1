import test from 'ava'
import {
  anyDigest,
  anyRepo,
  blob,
  type Content,
  descriptor,
  emptyJson,
  image,
  index,
  types,
} from './content.ts'
import {
  type Answer,
  errorCodes,
  expect,
  manifestsOf,
  nextPage,
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

/** What every answer of the API must be, whatever is in it. */
function isIndex(answer: Answer): boolean {
  const body = JSON.parse(answer.body.toString())
  const isType = answer.header('content-type') === types.index && body.mediaType === types.index
  return (
    answer.status === 200 && isType && body.schemaVersion === 2 && Array.isArray(body.manifests)
  )
}

test('R1: a digest that is none is 400', async (t) => {
  const repo = anyRepo()
  await pushArtifact(registry, repo)
  for (const digest of ['sha256:short', 'latest', `sha256:${'A'.repeat(64)}`]) {
    const answer = await referrersOf(repo, digest)
    t.is(answer.status, 400, digest)
    t.deepEqual(errorCodes(answer), ['DIGEST_INVALID'])
  }
})

test('R1: a digest that nothing refers to is 200, in a known and in an unknown repository', async (t) => {
  const repo = anyRepo()
  await pushArtifact(registry, repo)
  for (const name of [repo, anyRepo()]) {
    for (const digest of [anyDigest(), anyDigest('sha512')]) {
      const answer = await referrersOf(name, digest)
      t.true(isIndex(answer), answer.body.toString())
      t.deepEqual(manifestsOf(answer), [])
    }
  }
})

test('R2: the answer is an image index of the referrers, and of nothing else', async (t) => {
  const repo = anyRepo()
  const subject = await pushArtifact(registry, repo)
  const other = await pushArtifact(registry, repo)
  const referrer = await pushArtifact(registry, repo, { subject: descriptor(subject) })
  await pushArtifact(registry, repo, { subject: descriptor(other) })
  const answer = await referrersOf(repo, subject.digest)
  t.true(isIndex(answer))
  const [found, ...rest] = manifestsOf(answer)
  const { mediaType, digest, size } = found ?? {}
  t.deepEqual({ mediaType, digest, size }, { ...descriptor(referrer) })
  t.deepEqual(rest, [])
})

test('R2: HEAD tells the same as GET', async (t) => {
  const answer = await registry.request('HEAD', `/v2/${anyRepo()}/referrers/${anyDigest()}`)
  t.is(answer.status, 200)
  t.is(answer.header('content-type'), types.index)
})

test('R2: referrers of another repository are not listed', async (t) => {
  const repo = anyRepo()
  const subject = await pushArtifact(registry, repo)
  await pushArtifact(registry, anyRepo(), { subject: descriptor(subject) })
  t.deepEqual(await listed(repo, subject.digest), [])
})

test('R2: a referrer that was there before its subject is listed as well', async (t) => {
  const repo = anyRepo()
  await pushBlobs(registry, repo, [emptyJson])
  const subject = image({ config: emptyJson, layers: [] })
  const referrer = await pushArtifact(registry, repo, { subject: descriptor(subject) })
  t.is((await listed(repo, subject.digest))[0]?.digest, referrer.digest)
  await push(repo, subject)
  t.is((await listed(repo, subject.digest))[0]?.digest, referrer.digest)
})

for (const algorithm of ['sha256', 'sha512'] as const) {
  test(`R2: subject and referrer may be named by ${algorithm}`, async (t) => {
    const repo = anyRepo()
    await pushBlobs(registry, repo, [emptyJson])
    const subject = await push(repo, image({ config: emptyJson, layers: [] }, algorithm))
    const referrer = await push(repo, index([], { subject: descriptor(subject) }, algorithm))
    const found = await listed(repo, subject.digest)
    t.deepEqual(
      found.map(({ digest }) => digest),
      [referrer.digest],
    )
  })
}

test('R3: artifactType is the one of the manifest, or else the type of its config', async (t) => {
  const repo = anyRepo()
  const config = blob('{"a":1}', { mediaType: types.artifactTwo })
  await pushBlobs(registry, repo, [emptyJson, config])
  const subject = descriptor(await pushArtifact(registry, repo))
  const fields = { layers: [emptyJson], subject }
  const expected = new Map([
    [image({ config: emptyJson, ...fields, artifactType: types.artifactOne }), types.artifactOne],
    [image({ config, ...fields }), types.artifactTwo],
    [image({ config, ...fields, artifactType: '' }), types.artifactTwo],
    [index([], { subject, artifactType: types.artifactOne }), types.artifactOne],
    [index([], { subject }), undefined],
  ])
  for (const made of expected.keys()) await push(repo, made)
  const found = await listed(repo, subject.digest)
  t.is(found.length, expected.size)
  for (const [{ digest }, artifactType] of expected) {
    const entry = found.find((one) => one.digest === digest)
    t.is(entry?.artifactType, artifactType)
    t.is(entry !== undefined && 'artifactType' in entry, artifactType !== undefined)
  }
})

test('R4: the entry carries the annotations of the manifest, as they are', async (t) => {
  const repo = anyRepo()
  const subject = descriptor(await pushArtifact(registry, repo))
  const annotations = {
    'org.example.name': 'value',
    'key with "signs"': 'ä \u2028 \u0000 \n',
    ['__proto__']: '',
  }
  const made = await push(repo, index([], { subject, annotations }))
  const plain = await push(repo, index([], { subject, plain: true }))
  const found = await listed(repo, subject.digest)
  const annotationsOf = (one: Content) =>
    found.find(({ digest }) => digest === one.digest)?.annotations
  t.deepEqual(annotationsOf(made), annotations)
  t.deepEqual(annotationsOf(plain) ?? {}, {})
})

test('R5: a list that is too long is split, and Links lead through every entry once', async (t) => {
  const repo = anyRepo()
  const subject = descriptor(await pushArtifact(registry, repo))
  const wanted: Content[] = []
  for (let i = 0; i < 12; i++) {
    const artifactType = i % 3 === 0 ? types.artifactOne : types.artifactTwo
    const annotations = { 'org.example.long': String(i).padEnd(1_000_000, '.') }
    wanted.push(await push(repo, index([], { subject, artifactType, annotations })))
  }
  const walk = async (query: string) => {
    const answers: Answer[] = []
    let page: string | undefined = `/v2/${repo}/referrers/${subject.digest}${query}`
    while (page !== undefined && answers.length < 20) {
      const answer = await registry.request('GET', page)
      answers.push(answer)
      page = nextPage(registry, answer)
    }
    return answers
  }
  const answers = await walk('')
  t.true(answers.length > 1)
  t.true(answers.every(isIndex))
  t.true(answers.every(({ body }) => body.length < 8 * 1024 * 1024))
  const all = answers.flatMap(manifestsOf)
  const digests = (some: readonly { digest: string }[]) =>
    some.toSorted(byDigest).map((one) => one.digest)
  t.deepEqual(digests(all), digests(wanted))

  const filtered = await walk(`?artifactType=${types.artifactTwo}`)
  t.true(filtered.every((answer) => answer.header('oci-filters-applied') === 'artifactType'))
  t.deepEqual(digests(filtered.flatMap(manifestsOf)), digests(wanted.filter((_, i) => i % 3 !== 0)))
})

test('R6: artifactType filters, and the answer says so', async (t) => {
  const repo = anyRepo()
  await pushBlobs(registry, repo, [emptyJson])
  const subject = descriptor(await pushArtifact(registry, repo))
  const made = [
    await push(repo, index([], { subject, artifactType: types.artifactOne })),
    await push(repo, index([], { subject, artifactType: types.artifactTwo })),
    await push(repo, image({ config: emptyJson, layers: [], subject })),
    await push(repo, index([], { subject })),
  ]
  const types3 = [types.artifactOne, types.artifactTwo, types.empty]
  for (const [i, artifactType] of types3.entries()) {
    const query = `?artifactType=${encodeURIComponent(artifactType)}`
    const answer = await referrersOf(repo, subject.digest, query)
    t.true(isIndex(answer))
    t.is(answer.header('oci-filters-applied'), 'artifactType')
    t.deepEqual(
      manifestsOf(answer).map(({ digest }) => digest),
      [made[i]?.digest ?? ''],
    )
  }
  const none = await referrersOf(repo, subject.digest, '?artifactType=application%2Fabsent')
  t.deepEqual(manifestsOf(none), [])
  t.is(none.header('oci-filters-applied'), 'artifactType')
})

test('R6: without a filter none is said to be applied', async (t) => {
  const repo = anyRepo()
  const subject = descriptor(await pushArtifact(registry, repo))
  await push(repo, index([], { subject }))
  for (const query of ['', '?unknown=filter']) {
    const answer = await referrersOf(repo, subject.digest, query)
    t.is(answer.header('oci-filters-applied'), undefined)
    t.is(manifestsOf(answer).length, 1)
  }
})

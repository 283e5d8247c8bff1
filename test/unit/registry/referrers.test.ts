import { rm, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import test from 'ava'
import fc from 'fast-check'
import { type Digest, parseDigest } from '../../../src/lib/digest.ts'
import { referrersTag } from '../../../src/registry/referrer-sources.ts'
import type { Referrers } from '../../../src/registry/referrers.ts'
import { createSubjectIndex } from '../../../src/registry/subject-index.ts'
import { blobData, revision, revisionLink } from '../../../src/storage/layout.ts'
import {
  describe,
  digestOf,
  image,
  index,
  json,
  name,
  openStore,
  repo,
  type Store,
  tag,
  types,
} from './manifests/support.ts'

const subject = describe('the subject', types.image)
/** After this long an unchanged folder has a version. */
const settledMs = 2_200
const everything = { artifactType: undefined, after: undefined }
const referrer = (more: object = {}) => image([], { subject, ...more })

async function list(referrers: Referrers, of: Digest = subject.digest) {
  return (await referrers.list(name, of, everything)).entries
}

async function plantList(store: Store, manifests: readonly unknown[], more: object = {}) {
  const content = json({ schemaVersion: 2, mediaType: types.index, manifests, ...more })
  await store.tags.set(name, tag(referrersTag(subject.digest)), await store.plant(name, content))
}

test('referrers: R1 there are none of an unknown repository or subject', async (t) => {
  await using store = await openStore()
  t.deepEqual(await store.referrers.list(name, subject.digest, everything), {
    entries: [],
    more: false,
  })
  await store.plant(name, image())
  t.deepEqual(await list(store.referrers), [])
  t.deepEqual(await list(store.referrers, parseDigest('a+b:c')), [])
})

test('referrers: torn and dangling revisions are passed by', async (t) => {
  await using store = await openStore()
  const good = await store.plant(name, referrer({ n: 0 }))
  const unlinked = await store.plant(name, referrer({ n: 1 }))
  const gone = await store.plant(name, referrer({ n: 2 }))
  const torn = await store.plant(name, referrer({ n: 3 }))
  await truncate(join(store.root, revisionLink(name, unlinked)))
  await rm(join(store.root, blobData(gone)))
  await truncate(join(store.root, blobData(torn)), 30)
  await store.plant(repo('other'), referrer({ n: 4 }))
  t.deepEqual(
    (await list(store.referrers)).map(({ digest }) => digest),
    [good],
  )
})

test('referrers: a manifest that is healed later is found then', async (t) => {
  await using store = await openStore()
  const digest = await store.plant(name, referrer())
  await truncate(join(store.root, blobData(digest)))
  t.deepEqual(await list(store.referrers), [])
  await store.driver.write(blobData(digest), referrer())
  t.is((await list(store.referrers)).length, 1)
})

test('referrers: one that was deleted is gone at once', async (t) => {
  await using store = await openStore()
  const digest = await store.plant(name, referrer())
  t.is((await list(store.referrers)).length, 1)
  await rm(join(store.root, revision(name, digest)), { recursive: true })
  t.deepEqual(await list(store.referrers), [])
})

test('referrers: what another process adds or removes is seen although subjects are remembered', async (t) => {
  let reads = 0
  await using store = await openStore({
    wrap: (driver) => ({
      ...driver,
      read: async (path) => {
        if (path.endsWith('/data')) reads += 1
        return driver.read(path)
      },
    }),
  })
  const first = await store.plant(name, referrer({ n: 0 }))
  const emptied = await store.plant(name, referrer({ n: 1 }))
  await truncate(join(store.root, revisionLink(name, emptied)))
  await sleep(settledMs)
  const digests = async () => (await list(store.referrers)).map(({ digest }) => digest).sort()
  t.deepEqual(await digests(), [first])
  reads = 0
  t.deepEqual(await digests(), [first])
  t.is(reads, 0, 'no manifest is read twice')
  // Into a folder that is there already, which leaves no trace above it.
  await store.driver.write(revisionLink(name, emptied), emptied)
  t.deepEqual(await digests(), [first, emptied].sort())
  const second = await store.plant(name, referrer({ n: 2 }))
  t.deepEqual(await digests(), [first, emptied, second].sort())
  await rm(join(store.root, revision(name, first)), { recursive: true })
  t.deepEqual(await digests(), [emptied, second].sort())
})

test('referrers: R3 and R4 a descriptor has type, size, artifact type and annotations', async (t) => {
  await using store = await openStore()
  const annotations = { 'org.example.a': 'b' }
  const contents = [
    referrer({ artifactType: 'application/sbom', annotations }),
    referrer(),
    index([], { subject }),
    index([], { subject, artifactType: 'application/list' }),
    json({ mediaType: types.artifact, artifactType: 'application/old', blobs: [], subject }),
  ]
  for (const content of contents) await store.plant(name, content)
  const [sbom, plain, bareIndex, typedIndex, artifact] = contents.map((content) =>
    describe(content),
  )
  const expected = [
    { ...sbom, mediaType: types.image, artifactType: 'application/sbom', annotations },
    { ...plain, mediaType: types.image, artifactType: types.config },
    { ...bareIndex, mediaType: types.index },
    { ...typedIndex, mediaType: types.index, artifactType: 'application/list' },
    { ...artifact, mediaType: types.artifact, artifactType: 'application/old' },
  ]
  const byDigest = (a: { digest?: string }, b: { digest?: string }) =>
    String(a.digest) < String(b.digest) ? -1 : 1
  t.deepEqual<unknown, unknown>(await list(store.referrers), expected.toSorted(byDigest))
})

test('referrers: another name of a revision is not a second referrer', async (t) => {
  await using store = await openStore()
  const digest = await store.plant(name, referrer())
  await store.driver.write(revisionLink(name, digestOf(referrer(), 'sha512')), digest)
  t.deepEqual(
    (await list(store.referrers)).map((entry) => entry.digest),
    [digest],
  )
})

test('referrers: a subject of sha512 is found as it was written', async (t) => {
  await using store = await openStore()
  const digest = digestOf('the subject', 'sha512')
  const content = image([], { subject: { ...subject, digest } })
  await store.plant(name, content)
  t.is((await list(store.referrers, digest)).length, 1)
  t.deepEqual(await list(store.referrers), [])
})

test('referrers: R7 the tag is of the algorithm and the first 64 characters', (t) => {
  const hex = '0123456789abcdef'.repeat(8)
  t.is(referrersTag(parseDigest(`sha256:${hex.slice(0, 64)}`)), `sha256-${hex.slice(0, 64)}`)
  t.is(referrersTag(parseDigest(`sha512:${hex}`)), `sha512-${hex.slice(0, 64)}`)
  t.is(
    referrersTag(
      parseDigest('test+algorithm+using+algorithm+separators+and+lots+of+characters:a=b'),
    ),
    'test-algorithm-using-algorithm-s-a-b',
  )
})

test('referrers: R8 the list under the tag counts, once, and its manifests speak for themselves', async (t) => {
  await using store = await openStore()
  const both = await store.plant(name, referrer({ annotations: { from: 'manifest' } }))
  const listed = await store.plant(name, image([], { n: 1 }))
  const unreadable = await store.plant(name, image([], { n: 2 }))
  await rm(join(store.root, blobData(unreadable)))
  const entry = (digest: Digest) => ({
    mediaType: types.image,
    digest,
    size: 1,
    artifactType: 'application/claimed',
    annotations: { from: 'list' },
  })
  await plantList(store, [
    ...[both, both, listed, unreadable, digestOf('absent')].map(entry),
    null,
    { digest: listed },
    { ...entry(listed), digest: 'a+b:c' },
  ])
  const found = new Map((await list(store.referrers)).map((one) => [one.digest, one]))
  t.deepEqual([...found.keys()].toSorted(), [both, listed, unreadable].toSorted())
  t.is((await list(store.referrers)).length, 3)
  t.deepEqual(found.get(both)?.annotations, { from: 'manifest' })
  t.is(found.get(listed)?.artifactType, types.config)
  t.is(found.get(listed)?.annotations, undefined)
  t.deepEqual(found.get(unreadable), entry(unreadable))
})

test('referrers: a tag that leads to no list is no trouble', async (t) => {
  await using store = await openStore()
  const digest = await store.plant(name, referrer())
  const listTag = tag(referrersTag(subject.digest))
  await plantList(store, [], { manifests: 'none' })
  t.is((await list(store.referrers)).length, 1)
  await store.tags.set(name, listTag, digest)
  t.is((await list(store.referrers)).length, 1)
  await store.tags.set(name, listTag, digestOf('absent'))
  t.is((await list(store.referrers)).length, 1)
})

test('referrers: R6 the filter is for the artifact type that the descriptor shows', async (t) => {
  await using store = await openStore()
  const sbom = await store.plant(name, referrer({ artifactType: 'application/sbom' }))
  const plain = await store.plant(name, referrer())
  await store.plant(name, index([], { subject }))
  const filtered = async (artifactType: string) =>
    (
      await store.referrers.list(name, subject.digest, { artifactType, after: undefined })
    ).entries.map(({ digest }) => digest)
  t.deepEqual(await filtered('application/sbom'), [sbom])
  t.deepEqual(await filtered(types.config), [plain])
  t.deepEqual(await filtered('application/none'), [])
})

test('referrers: R5 a page ends at 4 MiB, and the next begins after it', async (t) => {
  await using store = await openStore()
  const note = (n: number, length: number) => ({
    annotations: { n: String(n), x: 'x'.repeat(length) },
  })
  const digests: Digest[] = []
  for (let n = 0; n < 6; n++) digests.push(await store.plant(name, referrer(note(n, 1_500_000))))
  digests.push(await store.plant(name, referrer(note(6, 5_000_000))))
  const found: Digest[] = []
  let pages = 0
  for (let more = true; more; pages++) {
    const page = await store.referrers.list(name, subject.digest, {
      artifactType: undefined,
      after: found.at(-1),
    })
    t.true(page.entries.length > 0)
    t.true(page.entries.length === 1 || JSON.stringify(page.entries).length < 4 * 1024 * 1024)
    found.push(...page.entries.map(({ digest }) => digest))
    more = page.more
  }
  t.deepEqual(found, digests.toSorted())
  t.true(pages >= 4)
})

test('referrers: after any text come those whose digests are greater', async (t) => {
  await using store = await openStore()
  const digests: Digest[] = []
  for (let n = 0; n < 8; n++) digests.push(await store.plant(name, referrer({ n })))
  const anywhere = fc.oneof(fc.constantFrom(...digests), fc.string(), fc.constant('sha256:8'))
  await fc.assert(
    fc.asyncProperty(anywhere, async (after) => {
      const page = await store.referrers.list(name, subject.digest, {
        artifactType: undefined,
        after,
      })
      t.deepEqual(
        page.entries.map(({ digest }) => digest),
        digests.filter((digest) => digest > after).toSorted(),
      )
    }),
    { numRuns: 30 },
  )
})

test('referrers: all are found, however few subjects are remembered', async (t) => {
  await using store = await openStore()
  const digests = []
  for (let n = 0; n < 12; n += 1) digests.push(await store.plant(name, referrer({ n })))
  const referrersOf = createSubjectIndex(store.driver, 3)
  for (let round = 0; round < 3; round += 1)
    t.deepEqual([...(await referrersOf(name, subject.digest))].sort(), digests.toSorted())
})

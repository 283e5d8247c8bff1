import { rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import test from 'ava'
import { parseDigest } from '../../../../src/lib/digest.ts'
import { RegistryError } from '../../../../src/lib/errors.ts'
import {
  blobData,
  layerLink,
  revision,
  revisionLink,
  revisionMediaType,
  tagIndexLink,
  tagLink,
} from '../../../../src/storage/layout.ts'
import {
  allowAll,
  describe,
  digestOf,
  image,
  index,
  json,
  name,
  openStore,
  pull,
  rejectsCode,
  repo,
  tag,
  types,
} from './support.ts'

const other = repo('other')
/** After this a file that has not changed has a version. */
const settledMs = 2_200

test('manifests: blobs that the repository does not have are named and nothing is stored', async (t) => {
  await using store = await openStore()
  await store.addBlobs(name, '{}', 'here', 'dangling')
  await store.addBlobs(other, 'elsewhere')
  await store.driver.remove(blobData(digestOf('dangling')), { durable: false })
  await store.driver.write(layerLink(name, digestOf('torn')), '')
  const layers = ['here', 'dangling', 'elsewhere', 'torn', 'absent']
  const content = image(layers)
  const error = await rejectsCode(t, store.push(content, ['x']), 'MANIFEST_BLOB_UNKNOWN')
  t.deepEqual(error?.detail, { missing: layers.slice(1).map((layer) => digestOf(layer)) })
  t.is(await store.driver.stat(blobData(digestOf(content))), undefined)
  t.is(await pull(store.manifests, tag('x')), 'MANIFEST_UNKNOWN')
})

test('manifests: digests that storage has no place for are missing, not a failure', async (t) => {
  await using store = await openStore()
  const digest = parseDigest('multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9Kv46HmX4Gx8')
  const content = index([{ ...describe('', types.image), digest }])
  await rejectsCode(t, store.push(content), 'MANIFEST_BLOB_UNKNOWN')
  t.is(await pull(store.manifests, digest), 'MANIFEST_UNKNOWN')
  await rejectsCode(t, store.manifests.delete(name, digest), 'MANIFEST_UNKNOWN')
  await rejectsCode(t, store.push(content, [], { digest }), 'DIGEST_INVALID')
  await store.driver.write(layerLink(name, digestOf('odd')), digest)
  await rejectsCode(t, store.push(image(['odd'])), 'MANIFEST_BLOB_UNKNOWN')
})

test('manifests: an error names a hundred missing blobs at most', async (t) => {
  await using store = await openStore()
  const layers = Array.from({ length: 300 }, (_, i) => String(i))
  const error = await rejectsCode(t, store.push(image(layers)), 'MANIFEST_BLOB_UNKNOWN')
  t.is(Object(error?.detail).missing.length, 100)
})

test('manifests: children of an index must be manifests of the repository', async (t) => {
  await using store = await openStore()
  const here = await store.plant(name, json({ here: 1 }))
  const dangling = await store.plant(name, json({ dangling: 1 }))
  await store.driver.remove(blobData(dangling), { durable: false })
  await store.plant(other, json({ elsewhere: 1 }))
  await store.addBlobs(name, '{"blob":1}')
  const child = (what: string) => describe(`{"${what}":1}`, types.image)
  t.is(child('here').digest, here)
  for (const what of ['dangling', 'elsewhere', 'blob']) {
    const push = store.push(index([child('here'), child(what)]))
    const error = await rejectsCode(t, push, 'MANIFEST_BLOB_UNKNOWN')
    t.deepEqual(error?.detail, { missing: [child(what).digest] })
  }
  await t.notThrowsAsync(store.push(index([child('here')])))
})

test('manifests: an index may list blobs, as build caches do', async (t) => {
  await using store = await openStore()
  await store.addBlobs(name, 'layer')
  await rejectsCode(t, store.push(index([describe('absent')])), 'MANIFEST_BLOB_UNKNOWN')
  await t.notThrowsAsync(store.push(index([describe('layer')])))
})

test('manifests: U1 a subject and layers that live elsewhere may be absent', async (t) => {
  await using store = await openStore()
  await store.addBlobs(name, '{}')
  const subject = describe('not pushed yet', types.image)
  const layers = [{ ...describe('far'), urls: ['https://elsewhere.test/layer'] }]
  const content = image([], { subject, layers })
  const push = { content, digest: undefined, mediaType: undefined, tags: [] }
  t.deepEqual(await store.manifests.put(name, push), {
    digest: digestOf(content),
    subject: subject.digest,
  })
})

test('manifests: another name of a layer or a child, by registry:3, counts like the one it leads to', async (t) => {
  await using store = await openStore()
  await store.addBlobs(name, '{}', 'layer')
  const child = await store.plant(name, json({ child: 1 }))
  const layerName = digestOf('layer', 'sha512')
  const childName = digestOf('{"child":1}', 'sha512')
  await store.driver.write(layerLink(name, layerName), digestOf('layer'))
  await store.driver.write(revisionLink(name, childName), child)
  const contents = [
    image([], { layers: [{ ...describe('layer'), digest: layerName }] }),
    index([{ ...describe('{"child":1}', types.image), digest: childName }]),
  ]
  for (const content of contents) await t.notThrowsAsync(store.push(content))
  await store.driver.remove(layerLink(name, digestOf('layer')), { durable: false })
  await store.driver.remove(revisionLink(name, child), { durable: false })
  for (const content of contents) {
    await rejectsCode(t, store.push(content), 'MANIFEST_BLOB_UNKNOWN')
  }
})

test('manifests: U3 a digest must be of an algorithm we have, and of the content', async (t) => {
  await using store = await openStore()
  await store.addBlobs(name, '{}')
  const md5 = parseDigest('md5:d41d8cd98f00b204e9800998ecf8427e')
  await rejectsCode(t, store.push(image(), [], { digest: md5 }), 'DIGEST_INVALID')
  for (const algorithm of ['sha256', 'sha512'] as const) {
    const digest = digestOf('something else', algorithm)
    await rejectsCode(t, store.push(image(), [], { digest }), 'DIGEST_MISMATCH')
  }
})

test('manifests: a store that takes no writes takes no manifest and no delete', async (t) => {
  const refuse = () => Promise.reject(new RegistryError('READ_ONLY'))
  await using store = await openStore({ admission: { ...allowAll, write: refuse, delete: refuse } })
  const digest = await store.plant(name, image())
  await rejectsCode(t, store.push(image()), 'READ_ONLY')
  await rejectsCode(t, store.manifests.delete(name, digest), 'READ_ONLY')
  t.is(Object(await pull(store.manifests, digest)).digest, digest)
})

test('manifests: bytes are written before the revision, and that before the tag', async (t) => {
  const written: string[] = []
  await using store = await openStore({
    wrap: (driver) => ({
      ...driver,
      write: async (path, content) => {
        await driver.write(path, content)
        written.push(path)
      },
    }),
  })
  const content = json({ schemaVersion: 2, manifests: [] })
  const digest = await store.push(content, ['x'], { mediaType: types.dockerList })
  t.deepEqual(written, [
    blobData(digest),
    revisionMediaType(name, digest),
    revisionLink(name, digest),
    tagIndexLink(name, tag('x'), digest),
    tagLink(name, tag('x')),
  ])
})

test('manifests: what was pushed comes back byte for byte, by tag and by digest', async (t) => {
  await using store = await openStore()
  await store.addBlobs(name, '{}', 'layer')
  const content = Buffer.from(` ${image(['layer'])}\n`)
  const digest = await store.push(content, ['x', 'y', 'x'])
  for (const reference of [digest, tag('x'), tag('y')]) {
    t.deepEqual(await pull(store.manifests, reference), { digest, mediaType: types.image, content })
  }
})

test('manifests: sha512 is stored under sha512 throughout', async (t) => {
  await using store = await openStore()
  await store.addBlobs(name, '{}')
  const digest = digestOf(image(), 'sha512')
  t.is(await store.push(image(), ['x'], { digest }), digest)
  t.is(await store.tags.resolve(name, tag('x')), digest)
  t.deepEqual((await store.driver.read(blobData(digest)))?.content, image())
  t.is(Object(await pull(store.manifests, tag('x'))).digest, digest)
  t.is(await pull(store.manifests, digestOf(image())), 'MANIFEST_UNKNOWN')
  await store.manifests.delete(name, digest)
  t.is(await pull(store.manifests, tag('x')), 'MANIFEST_UNKNOWN')
})

test('manifests: a media type that the JSON does not tell is kept, and forgotten by a later push', async (t) => {
  await using store = await openStore()
  await store.addBlobs(name, '{}')
  const content = json({ schemaVersion: 2, config: describe('{}'), layers: [] })
  const typeOf = async () => Object(await pull(store.manifests, digestOf(content))).mediaType
  await store.push(content, [], { mediaType: 'application/vnd.odd+json' })
  t.is(await typeOf(), 'application/vnd.odd+json')
  await store.push(content, [], { mediaType: types.dockerImage })
  t.is(await typeOf(), types.dockerImage)
  await store.push(content)
  t.is(await typeOf(), types.image)
  t.is(await store.driver.stat(revisionMediaType(name, digestOf(content))), undefined)
})

test('manifests: the media type of registry:2 is concluded from the JSON', async (t) => {
  await using store = await openStore()
  const typeOf = async (value: unknown, side?: string) => {
    const digest = await store.plant(name, json(value))
    if (side !== undefined) await store.driver.write(revisionMediaType(name, digest), side)
    return Object(await pull(store.manifests, digest)).mediaType
  }
  t.is(await typeOf({ manifests: [] }), types.index)
  t.is(await typeOf({ layers: [] }), types.image)
  t.is(await typeOf({ mediaType: types.dockerList, manifests: [] }), types.dockerList)
  t.is(await typeOf({ mediaType: types.dockerList }, types.image), types.dockerList)
  t.is(await typeOf({ manifests: [], x: 1 }, ''), types.index)
  t.is(await typeOf({ manifests: [], x: 2 }, 'bad\r\ntype: x'), types.index)
  t.is(await typeOf({ layers: [], x: 3 }, 'application/x'), 'application/x')
})

test('manifests: what is torn, dangling or absent is MANIFEST_UNKNOWN', async (t) => {
  await using store = await openStore()
  const unknown = async (reference = digestOf('{"x":1}')) =>
    t.is(await pull(store.manifests, reference), 'MANIFEST_UNKNOWN')
  await unknown()
  t.is(await pull(store.manifests, tag('absent')), 'MANIFEST_UNKNOWN')
  const digest = await store.plant(name, Buffer.from('{"x":1}'))
  await store.tags.set(name, tag('dangling'), digestOf('gone'))
  t.is(await pull(store.manifests, tag('dangling')), 'MANIFEST_UNKNOWN')
  for (const content of ['', '{"x"', '[]', '"x"']) {
    await store.driver.write(blobData(digest), content)
    await unknown()
  }
  await store.driver.remove(blobData(digest), { durable: false })
  await unknown()
  await store.driver.write(blobData(digest), '{"x":1}')
  t.is(Object(await pull(store.manifests, digest)).digest, digest)
  await store.driver.write(revisionLink(name, digest), '')
  await unknown()
  await rejectsCode(t, store.manifests.get(other, digest), 'MANIFEST_UNKNOWN')
})

test('manifests: a push heals what a crash tore', async (t) => {
  await using store = await openStore()
  await store.addBlobs(name, '{}')
  const digest = await store.push(image(), ['x'])
  await truncate(join(store.root, blobData(digest)))
  await truncate(join(store.root, revisionLink(name, digest)))
  await truncate(join(store.root, tagLink(name, tag('x'))))
  t.is(await store.push(image(), ['x']), digest)
  t.deepEqual(Object(await pull(store.manifests, tag('x'))).content, image())
})

test('manifests: another name of a revision, by registry:3, lives as long as the revision', async (t) => {
  await using store = await openStore()
  const digest = await store.plant(name, image())
  const alias = digestOf(image(), 'sha512')
  await store.driver.write(revisionLink(name, alias), digest)
  await store.tags.set(name, tag('x'), alias)
  const expected = { digest: alias, mediaType: types.image, content: image() }
  t.deepEqual(await pull(store.manifests, alias), expected)
  t.deepEqual(await pull(store.manifests, tag('x')), expected)
  await store.manifests.delete(name, digest)
  t.is(await pull(store.manifests, alias), 'MANIFEST_UNKNOWN')
  t.is(await pull(store.manifests, tag('x')), 'MANIFEST_UNKNOWN')
})

test('manifests: nothing that another process deleted or moved is served from memory', async (t) => {
  const reads: string[] = []
  await using store = await openStore({
    wrap: (driver) => ({
      ...driver,
      read: async (path) => {
        reads.push(path)
        return driver.read(path)
      },
    }),
  })
  await store.addBlobs(name, '{}')
  const [first, second] = [image([], { n: 1 }), image([], { n: 2 })]
  await store.push(first, ['x'])
  await store.push(second)
  await sleep(settledMs)
  await pull(store.manifests, tag('x'))
  reads.length = 0
  t.deepEqual(Object(await pull(store.manifests, tag('x'))).content, first)
  t.deepEqual(reads, [], 'nothing is read twice')
  await writeFile(join(store.root, tagLink(name, tag('x'))), digestOf(second))
  t.deepEqual(Object(await pull(store.manifests, tag('x'))).content, second)
  t.deepEqual(Object(await pull(store.manifests, digestOf(first))).content, first)
  await rm(join(store.root, revision(name, digestOf(first))), { recursive: true })
  t.is(await pull(store.manifests, digestOf(first)), 'MANIFEST_UNKNOWN')
})

test('manifests: a pull by tag survives that the tag is moved and the old manifest deleted', async (t) => {
  let interfere = async (): Promise<void> => {}
  await using store = await openStore({
    wrap: (driver) => ({
      ...driver,
      read: async (path) => {
        const file = await driver.read(path)
        if (path.endsWith('/current/link')) await interfere()
        return file
      },
    }),
  })
  await using elsewhere = await openStore({ root: store.root })
  await elsewhere.addBlobs(name, '{}')
  const old = await elsewhere.push(image([], { n: 1 }), ['x'])
  interfere = async () => {
    interfere = async () => {}
    await elsewhere.push(image([], { n: 2 }), ['x'])
    await elsewhere.manifests.delete(name, old)
  }
  t.is(Object(await pull(store.manifests, tag('x'))).digest, digestOf(image([], { n: 2 })))
})

test('manifests: deleting takes the manifest and its tags, and no other', async (t) => {
  await using store = await openStore()
  await store.addBlobs(name, '{}')
  const digest = await store.push(image([], { n: 1 }), ['a', 'b'])
  const kept = await store.push(image([], { n: 2 }), ['c'])
  await store.push(image([], { n: 1 }), ['moved'])
  await store.push(image([], { n: 2 }), ['moved'])
  await store.manifests.delete(name, digest)
  await rejectsCode(t, store.manifests.delete(name, digest), 'MANIFEST_UNKNOWN')
  const { entries } = await store.tags.list(name, { limit: undefined, after: undefined })
  t.deepEqual(entries, [tag('c'), tag('moved')])
  t.is(await pull(store.manifests, digest), 'MANIFEST_UNKNOWN')
  t.is(Object(await pull(store.manifests, tag('moved'))).digest, kept)
  t.is(await store.driver.stat(revision(name, digest)), undefined)
})

test('manifests: tags are gone for good before the revision is', async (t) => {
  const removed: [path: string, durable: boolean][] = []
  await using store = await openStore({
    wrap: (driver) => ({
      ...driver,
      remove: async (path, options) => {
        removed.push([path, options.durable])
        return driver.remove(path, options)
      },
    }),
  })
  await store.addBlobs(name, '{}')
  const digest = await store.push(image(), ['x'])
  await store.manifests.delete(name, digest)
  t.deepEqual(removed, [
    [tagLink(name, tag('x')).replace('/current/link', ''), true],
    [revision(name, digest), true],
  ])
})

test('manifests: a tag that another process sets while its manifest is deleted goes too', async (t) => {
  await using store = await openStore({
    wrap: (driver) => ({
      ...driver,
      remove: async (path, options) => {
        if (path === revision(name, digestOf(image()))) {
          await driver.write(tagLink(name, tag('late')), digestOf(image()))
        }
        return driver.remove(path, options)
      },
    }),
  })
  const digest = await store.plant(name, image())
  await store.manifests.delete(name, digest)
  t.is(await store.tags.resolve(name, tag('late')), undefined)
})

test('manifests: two deletes at once, or a collection beside one, are no failure; a later one is', async (t) => {
  await using store = await openStore()
  const digest = await store.plant(name, image())
  const results = await Promise.allSettled([
    store.manifests.delete(name, digest),
    store.manifests.delete(name, digest),
  ])
  t.true(results.some(({ status }) => status === 'fulfilled'))
  await rejectsCode(t, store.manifests.delete(name, digest), 'MANIFEST_UNKNOWN')
})

test('manifests: of parallel pushes of one tag one wins, and all are there by digest', async (t) => {
  await using store = await openStore()
  await using elsewhere = await openStore({ root: store.root })
  await store.addBlobs(name, '{}')
  const contents = Array.from({ length: 12 }, (_, n) => image([], { n }))
  const digests = await Promise.all(
    contents.map((content, i) => (i % 2 ? store : elsewhere).push(content, ['x'])),
  )
  t.deepEqual(
    digests,
    contents.map((content) => digestOf(content)),
  )
  t.true(digests.includes(Object(await pull(store.manifests, tag('x'))).digest))
  for (const digest of digests) t.is(Object(await pull(store.manifests, digest)).digest, digest)
})

test('manifests: beside deletes a tag leads to a manifest or is gone', async (t) => {
  await using store = await openStore()
  await using elsewhere = await openStore({ root: store.root })
  await store.addBlobs(name, '{}')
  const digest = await store.push(image(), ['x'])
  for (let round = 0; round < 15; round++) {
    await Promise.all([
      store.push(image(), ['x']),
      elsewhere.manifests.delete(name, digest).catch(() => {}),
      elsewhere.tags.delete(name, tag('x')).catch(() => {}),
    ])
    const isTagged = (await store.tags.resolve(name, tag('x'))) !== undefined
    if (isTagged) t.is(Object(await pull(store.manifests, tag('x'))).digest, digest)
    // Whatever the order was, the next push makes it whole.
    await store.push(image(), ['x'])
    t.is(Object(await pull(store.manifests, tag('x'))).digest, digest)
  }
})

test('manifests: one whose bytes are damaged is unknown, and heals when it is pushed again', async (t) => {
  await using store = await openStore()
  const content = Buffer.from(image())
  const digest = await store.plant(name, content)
  const damaged = Buffer.from(`${content}`.replace('schemaVersion', 'schemaVersioN'))
  t.is(damaged.length, content.length)
  await store.driver.write(blobData(digest), damaged)
  await rejectsCode(t, store.manifests.get(name, digest), 'MANIFEST_UNKNOWN')
  await store.driver.write(blobData(digest), content)
  t.deepEqual((await store.manifests.get(name, digest)).content, content)
})

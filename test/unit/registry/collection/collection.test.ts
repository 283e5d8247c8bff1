import { randomUUID } from 'node:crypto'
import { rm } from 'node:fs/promises'
import test, { type ExecutionContext } from 'ava'
import fc from 'fast-check'
import { pino } from 'pino'
import { type Digest, parseDigest } from '../../../../src/lib/digest.ts'
import { parseTag } from '../../../../src/lib/names.ts'
import { createAdmission } from '../../../../src/registry/admission.ts'
import { checkStore } from '../../../../src/registry/check/check.ts'
import { closeOver } from '../../../../src/registry/collection/closure.ts'
import { type CollectionOptions, collect } from '../../../../src/registry/collection/collection.ts'
import type { CollectionReport } from '../../../../src/registry/collection/report.ts'
import { linkBlob } from '../../../../src/registry/layer-links.ts'
import { createRegistry } from '../../../../src/registry/registry.ts'
import { listRepositories } from '../../../../src/registry/store-walk.ts'
import { openSweep } from '../../../../src/registry/sweeps.ts'
import { UnreadableError } from '../../../../src/registry/unreadable.ts'
import type { StorageDriver, StoredEntry } from '../../../../src/storage/driver.ts'
import {
  blobData,
  blobFolder,
  layerLink,
  repositoriesRoot,
  revisionLink,
  sweepsRoot,
  tagIndexLink,
  tagLink,
  uploads,
} from '../../../../src/storage/layout.ts'
import {
  brokenTags,
  createTestStore,
  digestOf,
  imageOf,
  imageType,
  repo,
  type TestStore,
  watchDriver,
} from '../../../support/store.ts'

const hour = 3_600_000
const app = repo('app')
const log = pino({ level: 'silent' })

async function run(
  t: ExecutionContext,
  store: TestStore,
  options: Partial<CollectionOptions> = {},
  driver: StorageDriver = store.driver,
): Promise<CollectionReport> {
  const defaults = { graceMs: hour, untagged: 'keep', dryRun: false } as const
  const report = await collect({ driver, log, options: { ...defaults, ...options } })
  if (report === undefined) throw new Error('another collection is under way')
  t.deepEqual(await brokenTags(store), [])
  return report
}

async function has(store: TestStore, path: string): Promise<boolean> {
  return (await store.driver.stat(path)) !== undefined
}

/** One tagged image, and a layer that only an untagged image has, all a day old. */
async function smallStore(store: TestStore) {
  const kept = await store.layer('app', 'kept')
  const garbage = await store.layer('app', 'garbage')
  const image = await store.image('app', [kept], { tag: 'latest' })
  await store.age(24 * hour)
  return { kept, garbage, image }
}

function pushes(driver: StorageDriver) {
  const options = { readonly: false, deleteEnabled: true, minFree: () => 0 }
  return createRegistry({ driver, admission: createAdmission(driver, options) })
}

function putImage(driver: StorageDriver, layers: readonly Digest[], tag = 'new'): Promise<unknown> {
  return pushes(driver).manifests.put(repo('app'), {
    digest: undefined,
    tags: [parseTag(tag)],
    mediaType: imageType,
    content: Buffer.from(JSON.stringify(imageOf(layers))),
  })
}

test('collection: a file that cannot be read stops it before anything is removed', async (t) => {
  await using store = await createTestStore()
  const { image } = await smallStore(store)
  const before = await store.files()
  const driver = watchDriver(store.driver, {
    before({ method, args }) {
      if (method === 'read' && args[0] === blobData(image))
        throw Object.assign(new Error('input/output error'), { code: 'EIO' })
    },
  })
  const error = await t.throwsAsync(run(t, store, {}, driver), { code: 'EIO' })
  t.is(error?.message, `${blobData(image)}: input/output error`)
  t.deepEqual(await store.files(), before)
})

test('collection: without the folder of repositories nothing is removed, and that is said', async (t) => {
  await using store = await createTestStore()
  await smallStore(store)
  await rm(store.root + repositoriesRoot, { recursive: true })
  const before = await store.files()
  const error = await t.throwsAsync(run(t, store), { instanceOf: UnreadableError })
  t.is(error?.path, repositoriesRoot)
  t.deepEqual(await store.files(), before)
})

test('collection: a store that was never used has nothing to collect', async (t) => {
  await using store = await createTestStore()
  t.is((await run(t, store)).blobs.kept, 0)
})

test('collection: all that a torn tag ever meant stays, for the check to mend it', async (t) => {
  await using store = await createTestStore()
  const [a, b] = [await store.layer('app', 'a'), await store.layer('app', 'b')]
  const images = [await store.image('app', [a], { tag: 'v1' }), await store.image('app', [b])]
  await store.image('app', [b, a], { tag: 'v2' })
  await store.file(tagIndexLink(app, parseTag('v1'), digestOf('gone')), digestOf('gone'))
  await store.tag('app', 'v1', images[1] ?? a)
  await store.file(tagLink(app, parseTag('v1')), '')
  await store.age(24 * hour)
  const before = await store.files()
  const driver = store.driver
  const options = { graceMs: hour, untagged: 'delete', dryRun: false } as const
  t.is((await collect({ driver, log, options }))?.manifests.removed, 0)
  t.deepEqual(await store.files(), before)
  await checkStore({ driver, repair: true, rehash: false })
  t.true(
    images.map(String).includes(String((await driver.read(tagLink(app, parseTag('v1'))))?.content)),
  )
})

test('collection: a repository with a manifest whose bytes are missing or damaged is kept whole', async (t) => {
  await using store = await createTestStore()
  for (const [name, content] of [
    ['missing', undefined],
    ['damaged', '{"layers": ['],
  ] as const) {
    await store.layer(name, `of ${name}`)
    const digest = digestOf(`manifest of ${name}`)
    await store.file(revisionLink(repo(name), digest), digest)
    if (content !== undefined) await store.file(blobData(digest), content)
  }
  await store.layer('fine', 'of nobody')
  await store.age(24 * hour)
  const report = await run(t, store, { untagged: 'keep' })
  t.deepEqual([...report.unreadable.names].sort(), ['damaged', 'missing'])
  t.true(await has(store, blobData(digestOf('of missing'))))
  t.true(await has(store, layerLink(repo('damaged'), digestOf('of damaged'))))
  t.false(await has(store, blobData(digestOf('of nobody'))))
})

test('collection: a second one at the same time does nothing', async (t) => {
  await using store = await createTestStore()
  await smallStore(store)
  const before = await store.files()
  const options = { graceMs: 0, untagged: 'keep', dryRun: false } as const
  await using sweep = await openSweep(store.driver)
  const beat = setInterval(() => void sweep?.announce([]), 20)
  t.is(await collect({ driver: store.driver, log, options }), undefined)
  clearInterval(beat)
  t.deepEqual(
    (await store.files()).filter((path) => !path.startsWith('/tidegate')),
    before,
  )
})

// Alone, as it changes the clock.
test.serial(
  'collection: nothing is removed when the announcement is not heard any more',
  async (t) => {
    await using store = await createTestStore()
    const { garbage } = await smallStore(store)
    const realNow = Date.now
    t.teardown(() => {
      Date.now = realNow
    })
    const driver = watchDriver(store.driver, {
      // The machine slept between the announcement and the removal.
      after({ method, args }) {
        if (method === 'write' && String(args[1]).includes('_layers'))
          Date.now = () => realNow() + hour
      },
    })
    const report = await run(t, store, {}, driver)
    Date.now = realNow
    t.is(report.left, 2)
    t.is(report.layerLinks.removed + report.blobs.removed, 0)
    t.true(await has(store, layerLink(repo('app'), garbage)))
  },
)

// Alone, as it changes the clock.
test.serial(
  'collection: what came into use while it was taken for dead in the middle of a batch is kept',
  async (t) => {
    await using store = await createTestStore()
    const layers = await Promise.all(
      Array.from({ length: 1_005 }, (_, index) => store.layer('app', `${index}`)),
    )
    await store.age(24 * hour)
    const realNow = Date.now
    t.teardown(() => {
      Date.now = realNow
    })
    let removals = 0
    let used: Digest | undefined
    const driver = watchDriver(store.driver, {
      async after({ method, args }) {
        if (method !== 'remove' || !String(args[0]).includes('_layers')) return
        removals += 1
        if (removals !== 1_000) return
        // It stands still, somebody takes it for dead and relies on what is left, and it goes on.
        Date.now = () => realNow() + 40_000
        for (const { name } of (await store.driver.list(sweepsRoot)) ?? [])
          await store.driver.remove(`${sweepsRoot}/${name}`, { durable: false })
        const isThere = await Promise.all(layers.map((layer) => has(store, layerLink(app, layer))))
        used = layers.find((_, index) => isThere[index])
        if (used !== undefined) await putImage(store.driver, [used])
      },
    })
    const report = await run(t, store, {}, driver)
    t.not(used, undefined)
    t.is(report.layerLinks.removed, 1_000)
  },
)

test('collection: killed at any change it leaves every tagged image whole, and the next one ends it', async (t) => {
  for (let crashAt = 1; ; crashAt += 1) {
    await using store = await createTestStore()
    const shared = await store.layer('app', 'shared')
    const old = await store.layer('app', 'old')
    const child = await store.image('app', [old, shared])
    await store.index('app', [child])
    await store.image('app', [shared], { tag: 'latest' })
    await store.layer('gone/away', 'nobody')
    await store.age(24 * hour)
    let calls = 0
    const isChange = (method: string) => ['write', 'remove', 'removeEmpty'].includes(method)
    const driver = watchDriver(store.driver, {
      before({ method }) {
        if (isChange(method)) calls += 1
        if (calls >= crashAt) throw new Error('killed')
      },
    })
    const crashed = await run(t, store, { untagged: 'delete' }, driver).then(
      () => false,
      () => true,
    )
    t.deepEqual(await brokenTags(store), [], `killed at change ${crashAt}`)
    if (!crashed) break
    await store.driver.remove(sweepsRoot, { durable: false })
    await run(t, store, { untagged: 'delete' })
    t.false(await has(store, blobData(old)))
    t.true(await has(store, blobData(shared)))
    t.false(await has(store, '/docker/registry/v2/repositories/gone'))
  }
})

test('collection: a push between the mark and the announcement is seen at the second look', async (t) => {
  await using store = await createTestStore()
  const { garbage } = await smallStore(store)
  let isPushed = false
  const driver = watchDriver(store.driver, {
    async before({ method, args }) {
      if (isPushed || method !== 'write' || !String(args[1]).includes('_layers')) return
      isPushed = true
      await putImage(store.driver, [garbage])
      // Of an age at which only the look at what it refers to can keep the layer.
      await store.age(24 * hour)
    },
  })
  const report = await run(t, store, {}, driver)
  t.true(isPushed)
  t.is(report.layerLinks.removed, 0)
  t.is(report.spared, 2)
  t.true(await has(store, blobData(garbage)))
})

test('collection: a push between the announcement and the second look waits, and is whole', async (t) => {
  await using store = await createTestStore()
  const { garbage } = await smallStore(store)
  let push: Promise<unknown> | undefined
  let isDone = false
  const driver = watchDriver(store.driver, {
    async after({ method, args }) {
      if (push !== undefined || method !== 'write' || !String(args[1]).includes('_layers')) return
      push = putImage(store.driver, [garbage]).then(() => {
        isDone = true
      })
      while (
        !(await has(store, revisionLink(repo('app'), digestOf(JSON.stringify(imageOf([garbage]))))))
      ) {
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
      t.false(isDone)
    },
  })
  await run(t, store, {}, driver)
  await push
  t.true(await has(store, blobData(garbage)))
  t.deepEqual(await brokenTags(store), [])
})

test('collection: a push that comes after the second look finds its layer gone, and leaves no tag', async (t) => {
  await using store = await createTestStore()
  const { garbage } = await smallStore(store)
  let push: Promise<unknown> | undefined
  const manifest = digestOf(JSON.stringify(imageOf([garbage])))
  const driver = watchDriver(store.driver, {
    async before({ method, args }) {
      if (push !== undefined || method !== 'remove' || !String(args[0]).includes('_layers')) return
      push = putImage(store.driver, [garbage])
      push.catch(() => {})
      while (!(await has(store, revisionLink(repo('app'), manifest)))) {
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
    },
  })
  const options = { graceMs: hour, untagged: 'keep', dryRun: false } as const
  await collect({ driver, log, options })
  await t.throwsAsync(async () => push, { code: 'MANIFEST_BLOB_UNKNOWN' })
  t.deepEqual(await brokenTags(store), [])
  t.false(await has(store, revisionLink(repo('app'), manifest)))
})

test('collection: a blob that another repository mounts while it is announced is kept or refused', async (t) => {
  for (const moment of ['before', 'after'] as const) {
    await using store = await createTestStore()
    const orphan = await store.blob('orphan')
    await store.age(24 * hour)
    let mount: Promise<boolean> | undefined
    const start = async ({ method, args }: { method: string; args: readonly unknown[] }) => {
      if (mount !== undefined || method !== 'write' || !String(args[1]).includes('/blobs/')) return
      mount = linkBlob(store.driver, repo('other'), orphan)
      if (moment === 'before') await mount
    }
    await run(t, store, {}, watchDriver(store.driver, { [moment]: start }))
    t.is(await mount, await has(store, blobData(orphan)))
    t.is(await mount, await has(store, layerLink(repo('other'), orphan)))
    if (moment === 'before') t.true(await mount)
  }
})

test('collection: a blob that was put in its place meanwhile is kept, whatever its own age', async (t) => {
  await using store = await createTestStore()
  const orphan = await store.blob('orphan')
  await store.age(24 * hour)
  let isDone = false
  const driver = watchDriver(store.driver, {
    async after({ method, args }) {
      if (isDone || method !== 'write' || !String(args[1]).includes('/blobs/')) return
      isDone = true
      const uploaded = '/docker/registry/v2/repositories/app/_uploads/1/data'
      await store.file(uploaded, 'orphan')
      await store.driver.touch(uploaded, Date.now() - 24 * hour)
      await store.driver.move(uploaded, blobData(orphan), { durable: true })
    },
  })
  t.is((await run(t, store, {}, driver)).spared, 1)
  t.true(await has(store, blobData(orphan)))
})

test('collection: a tag set between the mark and the second look keeps a manifest that had none', async (t) => {
  await using store = await createTestStore()
  const layer = await store.layer('app', 'layer')
  const untagged = await store.image('app', [layer])
  await store.age(24 * hour)
  let isTagged = false
  const driver = watchDriver(store.driver, {
    async before({ method, args }) {
      if (isTagged || method !== 'write' || !String(args[1]).includes('revisions')) return
      isTagged = true
      await store.tag('app', 'late', untagged)
      await store.age(24 * hour)
    },
  })
  const report = await run(t, store, { untagged: 'delete' }, driver)
  t.is(report.manifests.removed, 0)
  t.true(await has(store, blobData(layer)))
})

test('collection: what is younger than the grace is kept, links with their blobs', async (t) => {
  await using store = await createTestStore()
  await store.blob('old orphan')
  await store.layer('app', 'linked lately')
  await store.age(24 * hour)
  await store.driver.touch(layerLink(repo('app'), digestOf('linked lately')))
  await store.blob('young orphan')
  const report = await run(t, store)
  t.is(report.blobs.removed, 1)
  t.true(await has(store, blobData(digestOf('linked lately'))))
  t.true(await has(store, blobData(digestOf('young orphan'))))
})

test('collection: a repository with an upload under way keeps its layers', async (t) => {
  await using store = await createTestStore()
  const { garbage } = await smallStore(store)
  await store.file(`${uploads(repo('app'))}/6b1f/data`, 'on its way')
  t.is((await run(t, store, { graceMs: 0 })).layerLinks.removed, 0)
  await store.age(2 * hour)
  t.is((await run(t, store, { graceMs: 0 })).layerLinks.removed, 1)
  t.false(await has(store, blobData(garbage)))
  t.true(await has(store, `${uploads(repo('app'))}/6b1f/data`))
})

test('collection: untagged manifests are kept with all they refer to, or removed, as is asked for', async (t) => {
  await using store = await createTestStore()
  const [a, b] = [await store.layer('app', 'a'), await store.layer('app', 'b')]
  const old = await store.image('app', [a])
  const current = await store.image('app', [b])
  await store.tag('app', 'latest', old)
  await store.tag('app', 'latest', current)
  await store.age(24 * hour)
  t.is((await run(t, store)).manifests.removed, 0)
  const report = await run(t, store, { untagged: 'delete' })
  t.deepEqual(report.removed.manifests.names, [`app@${old}`])
  t.deepEqual(report.blobs, {
    ...{ kept: 2, removed: 2, removedBytes: 1 + JSON.stringify(imageOf([a])).length },
    keptBytes: 1 + JSON.stringify(imageOf([b])).length,
  })
  t.false(await has(store, tagIndexLink(repo('app'), parseTag('latest'), old)))
  t.true(await has(store, tagIndexLink(repo('app'), parseTag('latest'), current)))
})

test('collection: children of an index and referrers of what is kept stay without a tag', async (t) => {
  await using store = await createTestStore()
  const layer = (content: string) => store.layer('app', content)
  const child = await store.image('app', [await layer('child')])
  const inner = await store.index('app', [child])
  const index = await store.index('app', [inner], { tag: 'multi' })
  const signature = await store.image('app', [await layer('signature')], { subject: child })
  await store.image('app', [await layer('of signature')], { subject: signature })
  const absent = digestOf('not here')
  await store.image('app', [await layer('of nothing')], { subject: absent })
  const subject = await store.image('app', [await layer('subject')])
  await store.image('app', [await layer('tagged')], { subject, tag: 'sig' })
  await store.age(24 * hour)
  const report = await run(t, store, { untagged: 'delete' })
  t.is(report.manifests.removed, 2)
  t.true(await has(store, revisionLink(repo('app'), index)))
  t.true(await has(store, blobData(digestOf('of signature'))))
  t.true(await has(store, blobData(digestOf('child'))))
  t.false(await has(store, blobData(digestOf('of nothing'))))
  t.false(
    await has(store, revisionLink(repo('app'), subject)),
    'a subject is not kept by a referrer',
  )
})

test('collection: the same content under sha256 and sha512 is two blobs, and an alias keeps its target', async (t) => {
  await using store = await createTestStore()
  const strong = await store.layer('app', 'both', 'sha512')
  await store.layer('app', 'both', 'sha256')
  await store.image('app', [strong], { tag: 'strong', algorithm: 'sha512' })
  const target = await store.layer('alias', 'aliased')
  const alias = digestOf('aliased', 'sha512')
  await store.file(layerLink(repo('alias'), alias), target)
  await store.manifest('alias', imageOf([alias]))
  await store.age(24 * hour)
  const report = await run(t, store)
  t.deepEqual(report.removed.blobs.names, [digestOf('both')])
  t.true(await has(store, blobData(strong)))
  t.true(await has(store, blobData(target)))
  t.true(await has(store, layerLink(repo('alias'), target)))
})

test('collection: every digest in a manifest of an unknown type keeps what it names', async (t) => {
  await using store = await createTestStore()
  const model = await store.layer('app', 'model')
  await store.manifest('app', { mediaType: 'application/x-model', parts: [{ where: model }] })
  const schema1 = await store.layer('app', 'of schema 1')
  await store.manifest('app', { schemaVersion: 1, fsLayers: [{ blobSum: schema1 }] })
  await store.age(24 * hour)
  t.is((await run(t, store)).blobs.removed, 0)
})

test('collection: what a folder refers to that is no repository by its name is kept', async (t) => {
  await using store = await createTestStore()
  const layer = await store.blob('layer')
  const image = await store.blob(JSON.stringify(imageOf([layer])))
  const folder = '/docker/registry/v2/repositories/team/App.old/_manifests/revisions/sha256'
  await store.file(`${folder}/${image.slice(7)}/link`, image)
  await store.blob('orphan')
  await store.age(24 * hour)
  t.deepEqual((await run(t, store)).removed.blobs.names, [digestOf('orphan')])
})

test('collection: empty repositories go with their folders, others and those below stay', async (t) => {
  await using store = await createTestStore()
  await store.layer('team/empty', 'nobody')
  await store.layer('team/outer', 'nobody either')
  await store.image('team/outer/inner', [await store.layer('team/outer/inner', 'x')], { tag: 'a' })
  await store.file('/docker/registry/v2/repositories/dead/_manifests/tags/old/index/x', '')
  await store.age(24 * hour)
  const report = await run(t, store)
  t.deepEqual(report.removed.repositories.names.toSorted(), ['team/empty', 'team/outer'])
  t.false(await has(store, '/docker/registry/v2/repositories/team/empty'))
  t.false(await has(store, '/docker/registry/v2/repositories/team/outer/_layers'))
  t.true(await has(store, '/docker/registry/v2/repositories/dead'))
  t.deepEqual(
    (await store.emptyFolders()).filter((path) => !path.startsWith('/tidegate')),
    [],
  )
})

test('collection: folders of blobs without data are removed when they are old', async (t) => {
  await using store = await createTestStore()
  const folder = blobFolder(digestOf('torn away'))
  await store.file(`${folder}/x`, '')
  await store.driver.remove(`${folder}/x`, { durable: false })
  await run(t, store)
  t.true(await has(store, folder))
  await store.age(24 * hour)
  await run(t, store)
  t.false(await has(store, folder))
  t.deepEqual(await store.files(), [])
})

test('collection: what a killed process was writing is removed where no blob came to be', async (t) => {
  await using store = await createTestStore()
  await store.image('app', [await store.layer('app', 'x')], { tag: 'v' })
  const [id, other] = [randomUUID(), randomUUID()]
  const torn = blobFolder(digestOf('torn'))
  await store.file(`${torn}/data.${id}.tmp`, 'to')
  const foreign = `${blobFolder(digestOf('foreign'))}/notes.tmp`
  await store.file(foreign, 'mine')
  await store.age(24 * hour)
  const young = `${blobFolder(digestOf('young'))}/data.${other}.tmp`
  await store.file(young, 'yo')
  await run(t, store, { dryRun: true, graceMs: 0 })
  t.true(await has(store, `${torn}/data.${id}.tmp`))
  await run(t, store, { graceMs: 0 })
  t.false(await has(store, torn))
  t.true(await has(store, foreign))
  t.true(await has(store, young))
})

test('collection: a dry run reports what a run removes, and changes nothing', async (t) => {
  await using store = await createTestStore()
  await smallStore(store)
  await store.layer('empty', 'nobody')
  await store.age(24 * hour)
  const before = await store.files()
  const changes: string[] = []
  const driver = watchDriver(store.driver, {
    before({ method }) {
      if (!['stat', 'list', 'read'].includes(method)) changes.push(method)
    },
  })
  const dry = await run(t, store, { dryRun: true }, driver)
  t.deepEqual(changes, [])
  t.deepEqual(await store.files(), before)
  const wet = await run(t, store)
  t.is(dry.repositories.removed, 1)
  const comparable = ({ dryRun, started, durationMs, ...rest }: CollectionReport) => rest
  t.deepEqual(comparable(dry), comparable(wet))
})

test('collection: more things than one announcement holds are all removed, what is kept is read twice', async (t) => {
  await using store = await createTestStore()
  await Promise.all(Array.from({ length: 2_100 }, (_, index) => store.layer('app', `${index}`)))
  const image = await store.image('app', [await store.layer('app', 'kept')])
  await store.age(24 * hour)
  let reads = 0
  const driver = watchDriver(store.driver, {
    before({ method, args }) {
      if (method === 'read' && args[0] === blobData(image)) reads += 1
    },
  })
  const report = await run(t, store, {}, driver)
  t.is(reads, 2)
  t.is(report.layerLinks.removed, 2_100)
  t.is(report.blobs.removed, 2_100)
  t.is(report.removed.blobs.names.length + report.removed.blobs.more, 2_100)
  t.is((await store.files()).length, 4)
})

test('collection: a manifest nobody can read keeps any number of others, with any number of referrers', async (t) => {
  const count = 600_000
  const digests = Array.from({ length: count }, (_, index) =>
    parseDigest(`sha256:${index.toString(16).padStart(64, '0')}`),
  )
  const [first = digestOf('')] = digests
  const { manifests, isKnown } = await closeOver({
    roots: [first],
    revisions: new Map(digests.map((digest) => [digest, digest])),
    referencesOf: async (digest) => ({
      ...{ isKnown: digest !== first, blobs: [], manifests: [] },
      subject: digest === first ? undefined : first,
    }),
  })
  t.false(isKnown)
  t.is(manifests.size, count)
})

test('collection: any number of repositories can be on one level', async (t) => {
  const count = 600_000
  const list = async (path: string): Promise<StoredEntry[]> =>
    path === repositoriesRoot
      ? Array.from({ length: count }, (_, index) => ({ name: `r${index}`, kind: 'folder' }))
      : [{ name: '_layers', kind: 'folder' }]
  t.is((await listRepositories({ list })).repositories.length, count)
})

test('collection: an abort leaves the rest, and every image whole', async (t) => {
  await using store = await createTestStore()
  await smallStore(store)
  const stop = new AbortController()
  const driver = watchDriver(store.driver, {
    before: ({ method }) => (method === 'write' ? stop.abort() : undefined),
  })
  const options = { graceMs: hour, untagged: 'keep', dryRun: false } as const
  await t.throwsAsync(collect({ driver, log, options, signal: stop.signal }), {
    name: 'AbortError',
  })
  t.deepEqual(await brokenTags(store), [])
})

type Model = {
  readonly layers: readonly { readonly repository: number; readonly content: number }[]
  readonly manifests: readonly {
    readonly repository: number
    readonly layers: readonly number[]
    readonly children: readonly number[]
    readonly subject: number | undefined
    readonly tag: number | undefined
  }[]
}

const model: fc.Arbitrary<Model> = fc.record({
  layers: fc.array(fc.record({ repository: fc.nat(2), content: fc.nat(6) }), { maxLength: 10 }),
  manifests: fc.array(
    fc.record({
      repository: fc.nat(2),
      layers: fc.array(fc.nat(9), { maxLength: 3 }),
      children: fc.array(fc.nat(20), { maxLength: 2 }),
      subject: fc.option(fc.nat(20), { nil: undefined }),
      tag: fc.option(fc.nat(3), { nil: undefined }),
    }),
    { maxLength: 8 },
  ),
})

type Made = {
  readonly repository: string
  readonly digest: Digest
  readonly layers: readonly Digest[]
  readonly children: readonly Digest[]
  readonly subject: Digest | undefined
}

/** Builds the model, manifests referring to earlier ones of their repository. */
async function build(store: TestStore, { layers, manifests }: Model) {
  const made: Made[] = []
  const tags = new Map<string, Digest>()
  for (const { repository, content } of layers)
    await store.layer(`r${repository}`, `layer ${content}`)
  for (const [index, wanted] of manifests.entries()) {
    const one = await buildManifest(store, made, { ...wanted, isStrong: index % 3 === 0 })
    made.push(one)
    if (wanted.tag === undefined) continue
    await store.tag(one.repository, `t${wanted.tag}`, one.digest)
    tags.set(`${one.repository}:t${wanted.tag}`, one.digest)
  }
  return {
    made,
    tagged: (one: Made) =>
      [...tags].some(
        ([tag, digest]) => tag.startsWith(`${one.repository}:`) && digest === one.digest,
      ),
  }
}

async function buildManifest(
  store: TestStore,
  made: readonly Made[],
  wanted: Model['manifests'][number] & { readonly isStrong: boolean },
): Promise<Made> {
  const repository = `r${wanted.repository}`
  const earlier = made.filter((one) => one.repository === repository)
  const pick = (position: number): Digest | undefined => earlier[position % earlier.length]?.digest
  const children = wanted.children.flatMap((position) => pick(position) ?? [])
  const subject = wanted.subject === undefined ? undefined : pick(wanted.subject)
  const options = {
    ...(subject && { subject }),
    ...(wanted.isStrong && { algorithm: 'sha512' as const }),
  }
  if (children.length > 0) {
    const digest = await store.index(repository, children, options)
    return { repository, digest, layers: [], children, subject }
  }
  const layers: Digest[] = []
  for (const content of wanted.layers)
    layers.push(await store.layer(repository, `layer ${content}`))
  const digest = await store.image(repository, layers, options)
  return { repository, digest, layers, children, subject }
}

/** What the roots keep, found by trying again until nothing is added. */
function reachable(made: readonly Made[], roots: readonly Made[]): readonly Made[] {
  const isKeptBy = (one: Made, by: Made): boolean =>
    one.repository === by.repository &&
    (one.digest === by.digest || by.children.includes(one.digest) || one.subject === by.digest)
  const next = made.filter((one) => roots.some((by) => isKeptBy(one, by)))
  return next.length === roots.length ? next : reachable(made, next)
}

test('collection: of any store exactly what is in use remains', async (t) => {
  const check = async (shape: Model, untagged: 'keep' | 'delete'): Promise<void> => {
    await using store = await createTestStore()
    const { made, tagged } = await build(store, shape)
    const kept = reachable(made, untagged === 'keep' ? made : made.filter(tagged))
    await store.age(24 * hour)
    await run(t, store, { untagged })
    const files = (await store.files()).map((path) => `/docker/registry/v2${path}`)
    const same = (part: string, expected: readonly string[]) =>
      t.deepEqual(
        files.filter((path) => path.includes(part)),
        [...new Set(expected)].sort(),
      )
    same('/blobs/', kept.flatMap(({ digest, layers }) => [digest, ...layers]).map(blobData))
    same(
      '/_layers/',
      kept.flatMap(({ repository, layers }) =>
        layers.map((layer) => layerLink(repo(repository), layer)),
      ),
    )
    same(
      '/revisions/',
      kept.map(({ repository, digest }) => revisionLink(repo(repository), digest)),
    )
  }
  const property = fc.asyncProperty(model, fc.constantFrom('keep', 'delete'), check)
  await t.notThrowsAsync(fc.assert(property, { numRuns: 60 }))
})

import { createHash, randomUUID } from 'node:crypto'
import test, { type ExecutionContext } from 'ava'
import fc from 'fast-check'
import { parseTag } from '../../../../src/lib/names.ts'
import { type CheckReport, checkStore } from '../../../../src/registry/check/check.ts'
import { openSweep } from '../../../../src/registry/sweeps.ts'
import {
  blobData,
  blobFolder,
  layer,
  layerLink,
  readonlyMark,
  revisionLink,
  tag,
  tagIndexLink,
  tagLink,
  uploads,
} from '../../../../src/storage/layout.ts'
import {
  brokenTags,
  createTestStore,
  digestOf,
  imageOf,
  repo,
  type TestStore,
  watchDriver,
} from '../../../support/store.ts'

const hour = 3_600_000
const app = repo('app')
const base = '/docker/registry/v2'

async function check(
  store: TestStore,
  options: { repair?: boolean; rehash?: boolean } = {},
): Promise<CheckReport> {
  const report = await checkStore({
    driver: store.driver,
    ...{ repair: false, rehash: false },
    ...options,
  })
  if (report === undefined) throw new Error('a collection is under way')
  return report
}

/** Kinds and paths of what is found, sorted. */
function summary({ problems }: CheckReport): string[] {
  return problems.map(({ kind, path }) => `${kind} ${path.slice(base.length)}`).sort()
}

/** A repair mends everything, and a check after it finds nothing. */
async function repairs(
  t: ExecutionContext,
  store: TestStore,
  rehash = false,
): Promise<CheckReport> {
  const found = await check(store, { rehash })
  const report = await check(store, { repair: true, rehash })
  t.deepEqual(summary(report), summary(found))
  t.is(found.repaired, 0)
  t.is(report.remaining, 0)
  t.deepEqual((await check(store, { rehash })).problems, [])
  return report
}

async function goodStore(): Promise<TestStore> {
  const store = await createTestStore()
  const [a, b] = [await store.layer('app', 'a'), await store.layer('app', 'b', 'sha512')]
  const image = await store.image('app', [a, b], { tag: 'latest' })
  await store.index('app', [image], { tag: 'multi', algorithm: 'sha512' })
  await store.layer('app', '')
  await store.file(readonlyMark, '')
  await store.age(2 * hour)
  return store
}

test('check: a store that is in order has no problems', async (t) => {
  await using store = await goodStore()
  await store.file(`${uploads(app)}/going-on/data.tmp`, '')
  await store.file(`${layerLink(app, digestOf('new'))}.${randomUUID()}.tmp`, '')
  await store.file(`${base}/repositories/app/_manifests/tags/new/index/x.${randomUUID()}.tmp`, '')
  const report = await check(store, { rehash: true })
  t.deepEqual(report.problems, [])
  const { repositories, manifests, tags, layerLinks, blobs } = report.checked
  t.deepEqual([repositories, manifests, tags, layerLinks, blobs], [1, 2, 3, 4, 5])
})

test('check: links that lead nowhere are removed, with the tags on them', async (t) => {
  await using store = await goodStore()
  const [layer, manifest] = [digestOf('no layer'), digestOf('no manifest')]
  await store.file(layerLink(app, layer), layer)
  await store.file(revisionLink(app, manifest), manifest)
  await store.tag('app', 'dead', manifest)
  await store.tag('app', 'deader', digestOf('never there'))
  await store.file(tagIndexLink(app, parseTag('latest'), manifest), manifest)
  await store.age(2 * hour)
  t.deepEqual(summary(await repairs(t, store)), [
    `link-dangling /repositories/app/_layers/${layer.replace(':', '/')}/link`,
    `link-dangling /repositories/app/_manifests/revisions/${manifest.replace(':', '/')}/link`,
    'link-dangling /repositories/app/_manifests/tags/dead/current/link',
    'link-dangling /repositories/app/_manifests/tags/deader/current/link',
    `link-dangling /repositories/app/_manifests/tags/latest/index/${manifest.replace(':', '/')}/link`,
  ])
})

test('check: an empty link is written again where its folder and the bytes say what it held', async (t) => {
  await using store = await goodStore()
  const image = await store.image('app', [digestOf('a')], { tag: 'torn' })
  for (const link of [layerLink(app, digestOf('a')), revisionLink(app, image)])
    await store.file(link, '')
  const nothing = digestOf('nothing')
  await store.file(layerLink(app, nothing), '')
  await store.age(2 * hour)
  const report = await repairs(t, store)
  t.deepEqual(report.kinds, { 'link-empty': 3 })
  t.deepEqual(await brokenTags(store), [])
  t.is(await store.driver.stat(layerLink(app, nothing)), undefined)
})

test('check: an empty tag gets what it was pushed with last, or goes', async (t) => {
  await using store = await goodStore()
  const older = await store.image('app', [digestOf('a')], { tag: 'torn' })
  const newer = await store.image('app', [digestOf('a'), digestOf('a')], { tag: 'torn' })
  await store.file(tagLink(app, parseTag('torn')), '')
  await store.file(tagLink(app, parseTag('lost')), 'sha256:12')
  await store.age(3 * hour)
  await store.driver.touch(tagIndexLink(app, parseTag('torn'), newer), Date.now() - 2 * hour)
  t.not(older, newer)
  t.deepEqual((await repairs(t, store)).kinds, { 'link-empty': 2 })
  t.is(String((await store.driver.read(tagLink(app, parseTag('torn'))))?.content), newer)
  t.is(await store.driver.stat(`${base}/repositories/app/_manifests/tags/lost`), undefined)
})

test('check: tag folders without a meaning go when nobody can be writing to them', async (t) => {
  await using store = await goodStore()
  const index = tagIndexLink(app, parseTag('half'), digestOf(JSON.stringify(imageOf([]))))
  await store.file(index, digestOf(JSON.stringify(imageOf([]))))
  t.deepEqual(
    (await check(store)).problems.filter(({ kind }) => kind === 'tag-without-current'),
    [],
  )
  await store.age(2 * hour)
  t.deepEqual((await repairs(t, store)).kinds, { 'tag-without-current': 1 })
})

test('check: temporary files and leaked uploads go when they are old', async (t) => {
  await using store = await goodStore()
  await store.file(`${base}/blobs/sha256/ab/x.${randomUUID()}.tmp`, 'x')
  await store.file(`${tagLink(app, parseTag('latest'))}.${randomUUID()}.tmp`, 'x')
  await store.file(`${uploads(app)}/registry2/hashstates/sha256/0`, 'state')
  await store.file(`${uploads(app)}/recent/startedat`, '')
  await store.age(2 * hour)
  t.deepEqual((await repairs(t, store)).kinds, { 'temporary-file': 2, 'upload-leaked': 1 })
  await store.age(25 * hour)
  t.deepEqual((await repairs(t, store)).kinds, { 'upload-leaked': 1 })
})

test('check: a blob that is not what its name says is removed, and who needs it is told', async (t) => {
  await using store = await goodStore()
  await store.file(blobData(digestOf('a')), 'A')
  await store.age(2 * hour)
  t.deepEqual((await check(store)).problems, [])
  const report = await check(store, { repair: true, rehash: true })
  t.deepEqual(report.kinds, { 'blob-mismatch': 1, 'link-dangling': 1, 'manifest-incomplete': 1 })
  t.is(report.remaining, 1)
  t.deepEqual(report.problems.find(({ kind }) => kind === 'manifest-incomplete')?.repository, app)
  t.is(await store.driver.stat(blobData(digestOf('a'))), undefined)
  await store.layer('app', 'a')
  t.deepEqual((await check(store, { rehash: true })).problems, [])
})

test('check: a damaged manifest is found without reading every blob, a torn blob too', async (t) => {
  await using store = await goodStore()
  const damaged = digestOf(JSON.stringify(imageOf([digestOf('b')])))
  await store.file(revisionLink(app, damaged), damaged)
  await store.file(blobData(damaged), '{')
  await store.tag('app', 'damaged', damaged)
  await store.file(blobData(digestOf('torn')), '')
  await store.file(layerLink(app, digestOf('torn')), digestOf('torn'))
  await store.age(2 * hour)
  t.deepEqual((await repairs(t, store)).kinds, {
    ...{ 'blob-torn': 1, 'blob-mismatch': 1, 'link-dangling': 3 },
  })
})

test('check: blobs of every length are read again as they are', async (t) => {
  const length = fc.oneof(fc.nat(4), fc.constantFrom(262_143, 262_144, 262_145, 524_288))
  const property = fc.asyncProperty(length, fc.boolean(), async (size, isGood) => {
    await using store = await createTestStore()
    const content = Buffer.alloc(size, 7)
    const digest = await store.blob(content)
    if (!isGood) await store.file(blobData(digest), Buffer.alloc(size + 1, 7))
    const { kinds } = await check(store, { rehash: true })
    t.deepEqual(kinds, isGood ? {} : { 'blob-mismatch': 1 })
    t.is(createHash('sha256').update(content).digest('hex'), digest.slice(7))
  })
  await t.notThrowsAsync(fc.assert(property, { numRuns: 20 }))
})

test('check: a manifest that lacks something is reported, as only a push can mend it', async (t) => {
  await using store = await goodStore()
  const [gone, absent] = [digestOf('gone'), digestOf('absent')]
  const image = await store.image('app', [digestOf('a'), gone])
  const index = await store.index('app', [absent])
  await store.manifest('app', {
    ...imageOf([digestOf('a')]),
    layers: [{ digest: digestOf('elsewhere'), size: 1, urls: ['https://example.com/layer'] }],
  })
  await store.age(2 * hour)
  const report = await check(store, { repair: true })
  t.deepEqual(
    report.problems.map(({ kind, digest }) => [kind, digest]).sort(),
    [
      ['manifest-incomplete', image],
      ['manifest-incomplete', index],
    ].sort(),
  )
  t.true(report.problems.some(({ detail }) => detail?.includes(gone)))
  t.is(report.remaining, 2)
})

test('check: files that are none of ours are reported, never touched, and nothing to repair', async (t) => {
  await using store = await goodStore()
  const strays = [
    'blobs/sha256/readme',
    'repositories/app/notes',
    'repositories/app/notes.tmp',
    'repositories/My App/x',
    'x',
  ]
  for (const path of strays) await store.file(`${base}/${path}`, 'x')
  await store.file(`${base}/repositories/Team.old/_layers/sha256/x/link`, 'x')
  await store.age(25 * hour)
  const report = await check(store, { repair: true })
  t.is(report.remaining, 0)
  t.deepEqual(
    summary(report).filter((line) => !line.startsWith('stray')),
    [],
  )
  t.deepEqual(report.problems.map(({ path }) => path.slice(base.length + 1)).sort(), [
    'blobs/sha256/readme',
    'repositories/Team.old',
    'repositories/Team.old/_layers/sha256/x/link',
    'repositories/app/notes',
    'repositories/app/notes.tmp',
    'x',
  ])
  for (const path of strays) t.true((await store.files()).includes(`/${path}`))
})

test('check: what a push brought back between the look and the repair stays', async (t) => {
  await using store = await goodStore()
  const layer = digestOf('comes back')
  await store.file(layerLink(app, layer), layer)
  await store.file(tagLink(app, parseTag('moved')), digestOf('not yet there'))
  await store.file(blobData(digestOf('torn')), '')
  await store.driver.write(`${blobFolder(digestOf('bare'))}/x.tmp`, '')
  await store.driver.remove(`${blobFolder(digestOf('bare'))}/x.tmp`, { durable: false })
  await store.age(2 * hour)
  const driver = watchDriver(store.driver, {
    async after({ method, args }) {
      if (method !== 'write' || !String(args[1]).includes('_layers')) return
      await store.blob('comes back')
      await store.blob('torn')
      await store.blob('bare')
      await store.image('app', [digestOf('a'), digestOf('a')], { tag: 'moved' })
    },
  })
  const report = await checkStore({ driver, repair: true, rehash: false })
  t.is(report?.problems.length, 4)
  t.true((await store.files()).includes(layerLink(app, layer).slice(base.length)))
  t.deepEqual((await check(store, { rehash: true })).problems, [])
  t.deepEqual(await brokenTags(store), [])
})

test('check: what was deleted between the look and the repair is not brought back', async (t) => {
  await using store = await goodStore()
  const deleted = [layer(app, digestOf('a')), tag(app, parseTag('torn'))]
  await store.image('app', [digestOf('b', 'sha512')], { tag: 'torn' })
  for (const link of [layerLink(app, digestOf('a')), tagLink(app, parseTag('torn'))])
    await store.file(link, '')
  await store.age(2 * hour)
  const driver = watchDriver(store.driver, {
    async after({ method, args }) {
      if (method !== 'write' || !String(args[1]).includes('/torn\n')) return
      for (const folder of deleted) await store.driver.remove(folder, { durable: false })
    },
  })
  const report = await checkStore({ driver, repair: true, rehash: false })
  t.deepEqual(report?.kinds, { 'link-empty': 2 })
  for (const folder of deleted) t.is(await store.driver.stat(folder), undefined)
})

test('check: what the system cannot read is told, left alone, and keeps nothing else from being checked', async (t) => {
  await using store = await goodStore()
  const unreadable = [
    blobData(digestOf('a')),
    layerLink(app, digestOf('b', 'sha512')),
    tagLink(app, parseTag('multi')),
    `${base}/blobs/sha256/${digestOf('in the folder').slice(7, 9)}`,
    `${base}/repositories/bad/_manifests/tags`,
  ]
  await store.blob('in the folder')
  await store.layer('bad', 'c')
  await store.file(layerLink(repo('zoo'), digestOf('gone')), digestOf('gone'))
  await store.file(tagLink(repo('bad'), parseTag('hidden')), '')
  await store.age(2 * hour)
  const before = await store.files()
  const fail = ({ args }: { args: readonly unknown[] }) => {
    if (unreadable.includes(String(args[0])))
      throw Object.assign(new Error('input/output error'), { code: 'EIO' })
  }
  const driver = watchDriver(store.driver, {
    before: (call) => (['list', 'read', 'open'].includes(call.method) ? fail(call) : undefined),
  })
  const report = await checkStore({ driver, repair: true, rehash: true })
  const told = report?.problems.filter(({ kind }) => kind === 'unreadable')
  t.deepEqual(told?.map(({ path }) => path).sort(), unreadable.sort())
  t.true(told?.every(({ detail }) => detail === 'input/output error'))
  t.deepEqual(report?.kinds, { unreadable: 5, 'link-dangling': 1 })
  t.is(report?.remaining, 5)
  const gone = layerLink(repo('zoo'), digestOf('gone')).slice(base.length)
  t.deepEqual(
    await store.files(),
    before.filter((path) => path !== gone),
  )
})

test('check: a repair that the system refuses does not keep others from being made', async (t) => {
  await using store = await goodStore()
  for (const content of ['gone', 'gone too'])
    await store.file(layerLink(app, digestOf(content)), digestOf(content))
  await store.age(2 * hour)
  let removals = 0
  const driver = watchDriver(store.driver, {
    before({ method, args }) {
      if (method !== 'remove' || !String(args[0]).includes('_layers')) return
      removals += 1
      if (removals === 1)
        throw Object.assign(new Error('input/output error'), { code: 'EIO', syscall: 'unlink' })
    },
  })
  const report = await checkStore({ driver, repair: true, rehash: false })
  t.is(report?.repaired, 1)
  t.is(report?.remaining, 1)
})

test('check: a collection can run while blobs are read, and repairs wait for its end', async (t) => {
  await using store = await goodStore()
  await store.file(layerLink(app, digestOf('gone')), digestOf('gone'))
  await store.age(2 * hour)
  let collection: ReturnType<typeof openSweep> | undefined
  let isEnded = false
  const driver = watchDriver(store.driver, {
    async before({ method, args }) {
      if (method === 'open') collection ??= openSweep(store.driver)
      if (method === 'remove' && String(args[0]).includes('_layers')) t.true(isEnded)
    },
    async after({ method }) {
      const sweep = await collection
      // The first look beside it: the repair has found that it must wait.
      if (method !== 'list' || sweep === undefined || isEnded) return
      setTimeout(async () => {
        isEnded = true
        await sweep[Symbol.asyncDispose]()
      }, 200)
    },
  })
  t.plan(3)
  const report = await checkStore({ driver, repair: true, rehash: true })
  t.not(await collection, undefined)
  t.is(report?.repaired, 1)
})

test('check: no repair begins beside a collection, but a check does', async (t) => {
  await using store = await goodStore()
  await using sweep = await openSweep(store.driver)
  const beat = setInterval(() => void sweep?.announce([]), 20)
  const options = { driver: store.driver, rehash: false }
  t.is(await checkStore({ ...options, repair: true }), undefined)
  t.deepEqual((await checkStore({ ...options, repair: false }))?.problems, [])
  clearInterval(beat)
})

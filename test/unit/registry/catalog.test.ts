import { mkdir, rename, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import test from 'ava'
import fc from 'fast-check'
import { layerLink, repositoriesRoot, revisionLink, tagLink } from '../../../src/storage/layout.ts'
import { digestOf, openStore, repo, type Store, tag } from './manifests/support.ts'

const digest = digestOf('x')
/** After this long an unchanged folder has a version. */
const settledMs = 2_200
const everything = { limit: undefined, after: undefined }

async function add(store: Store, ...names: readonly string[]): Promise<void> {
  for (const name of names) await store.driver.write(revisionLink(repo(name), digest), digest)
}

test('catalog: before the first push it is empty', async (t) => {
  await using store = await openStore()
  t.deepEqual(await store.catalog.list(everything), { entries: [], more: false })
})

test('catalog: repositories without a manifest are not in it', async (t) => {
  await using store = await openStore()
  await add(store, 'good', 'emptied', 'no/layers-yet')
  await store.driver.write(layerLink(repo('blobs-only'), digest), digest)
  await store.driver.write(revisionLink(repo('torn'), digest), '')
  await store.driver.write(tagLink(repo('tag-only'), tag('x')), digest)
  await store.driver.remove(revisionLink(repo('emptied'), digest), { durable: false })
  t.deepEqual<readonly string[], readonly string[]>(
    (await store.catalog.list(everything)).entries,
    ['good', 'no/layers-yet'],
  )
})

test('catalog: a repository that was remembered is looked at again', async (t) => {
  await using store = await openStore()
  const [first, second] = [revisionLink(repo('a'), digest), revisionLink(repo('a'), digestOf('y'))]
  await add(store, 'a')
  t.is((await store.catalog.list(everything)).entries.length, 1)
  await store.driver.write(second, digestOf('y'))
  await store.driver.remove(first, { durable: false })
  t.is((await store.catalog.list(everything)).entries.length, 1)
  await store.driver.write(second, '')
  t.is((await store.catalog.list(everything)).entries.length, 0)
})

test('catalog: what came or went is noticed although listings are remembered', async (t) => {
  let listings = 0
  await using store = await openStore({
    wrap: (driver) => ({
      ...driver,
      list: async (path) => {
        listings += 1
        return driver.list(path)
      },
    }),
  })
  const names = async () => (await store.catalog.list(everything)).entries.map(String)
  await add(store, 'a', 'team/b', 'team/c')
  await sleep(settledMs)
  t.deepEqual(await names(), ['a', 'team/b', 'team/c'])
  listings = 0
  t.deepEqual(await names(), ['a', 'team/b', 'team/c'])
  t.is(listings, 1, 'only what might have become a repository is listed again: team')
  await add(store, 'team/b/deep', 'z')
  t.deepEqual(await names(), ['a', 'team/b', 'team/b/deep', 'team/c', 'z'])
  await store.driver.remove(`${repositoriesRoot}/team`, { durable: false })
  t.deepEqual(await names(), ['a', 'z'])
})

test('catalog: however many repositories there are, a page does not list them again', async (t) => {
  let listings = 0
  const folder = (name: string) => ({ kind: 'folder', name }) as const
  const names = Array.from({ length: 120_000 }, (_, index) => folder(`r${index}`))
  const [algorithm = '', hex = ''] = digest.split(':')
  const link = { kind: 'file', size: digest.length, modifiedAt: 0, version: '1' } as const
  await using store = await openStore({
    wrap: (driver) => ({
      ...driver,
      stat: async (path) => (path.endsWith('/link') ? link : { ...link, kind: 'folder', size: 0 }),
      read: async () => ({ content: Buffer.from(digest), stat: link }),
      list: async (path) => {
        listings += 1
        if (path === repositoriesRoot) return names
        if (path.endsWith('/revisions')) return [folder(algorithm)]
        return path.endsWith(`/revisions/${algorithm}`) ? [folder(hex)] : []
      },
    }),
  })
  const page = { limit: 10, after: 'r5' }
  const { entries } = await store.catalog.list(page)
  t.deepEqual(entries.slice(0, 2).map(String), ['r50', 'r500'])
  listings = 0
  t.deepEqual((await store.catalog.list(page)).entries, entries)
  t.is(listings, 0)
})

test('catalog: a disk that has gone is an error also for listings that are remembered', async (t) => {
  await using store = await openStore()
  await add(store, 'here', 'away')
  const [folder, disk] = [join(store.root, repositoriesRoot, 'away'), join(store.root, 'disk')]
  await rename(folder, disk)
  await symlink(disk, folder)
  await sleep(settledMs)
  const names = async (after?: string) =>
    (await store.catalog.list({ limit: undefined, after })).entries.map(String)
  t.deepEqual(await names(), ['away', 'here'])
  await rename(disk, `${disk}-unmounted`)
  for (const after of [undefined, 'away']) {
    await t.throwsAsync(names(after), { message: /a disk that is not mounted/ })
  }
  await rename(`${disk}-unmounted`, disk)
  t.deepEqual(await names(), ['away', 'here'])
})

test('catalog: folders that cannot be repositories, and what is below them, are passed by', async (t) => {
  await using store = await openStore()
  await add(store, 'a', 'a/b')
  const long = `${'x'.repeat(200)}/${'y'.repeat(200)}`
  for (const folder of ['Upper', 'Upper/a', '_own', 'a/_own/b', 'a--', 'a..b', '.x', long]) {
    const link = join(
      store.root,
      repositoriesRoot,
      folder,
      revisionLink(repo('r'), digest).split('/r/')[1] ?? '',
    )
    await mkdir(join(link, '..'), { recursive: true })
    await writeFile(link, digest)
  }
  await writeFile(join(store.root, repositoriesRoot, 'file'), '')
  t.deepEqual<readonly string[], readonly string[]>(
    (await store.catalog.list(everything)).entries,
    ['a', 'a/b'],
  )
})

test('catalog: the order is that of whole names', async (t) => {
  await using store = await openStore()
  const sorted = ['a', 'a-b', 'a-b/c', 'a.b', 'a/a', 'a/b', 'a/b-c', 'a/b/c', 'a0', 'a_b', 'b']
  await add(store, ...sorted.toReversed())
  t.deepEqual<readonly string[], readonly string[]>(
    (await store.catalog.list(everything)).entries,
    sorted,
  )
  for (const [i, after] of sorted.entries()) {
    const rest = sorted.slice(i + 1)
    t.deepEqual<unknown, unknown>(await store.catalog.list({ limit: 2, after }), {
      entries: rest.slice(0, 2),
      more: rest.length > 2,
    })
  }
  t.deepEqual(await store.catalog.list({ limit: 0, after: undefined }), {
    entries: [],
    more: false,
  })
})

test('catalog: a page costs about as many looks as it has entries', async (t) => {
  const listed: string[] = []
  await using store = await openStore({
    wrap: (driver) => ({
      ...driver,
      list: async (path) => {
        listed.push(path)
        return driver.list(path)
      },
    }),
  })
  const names = Array.from({ length: 300 }, (_, i) => `r${String(i).padStart(3, '0')}`)
  await add(store, ...names)
  for (const after of [undefined, 'r150', 'r150/x']) {
    listed.length = 0
    t.is((await store.catalog.list({ limit: 10, after })).entries.length, 10)
    t.true(listed.length < 100, `${listed.length} folders`)
  }
})

const component = fc.stringMatching(/^[ab0](?:[._-]?[ab0]){0,2}$/)
const repository = fc
  .array(component, { minLength: 1, maxLength: 3 })
  .map((parts) => parts.join('/'))

test('catalog: pages put together are all repositories in ASCII order', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(repository, { maxLength: 15 }),
      fc.integer({ min: 1, max: 6 }),
      fc.oneof(repository, fc.string()),
      async (names, limit, after) => {
        await using store = await openStore()
        await add(store, ...names)
        const sorted = names.toSorted((x, y) => (x < y ? -1 : 1))
        const found: string[] = []
        for (let more = true; more; ) {
          const page = await store.catalog.list({ limit, after: found.at(-1) })
          more = page.more
          t.true(page.entries.length === limit || !more)
          found.push(...page.entries)
        }
        t.deepEqual(found, sorted)
        const { entries } = await store.catalog.list({ limit: undefined, after })
        t.deepEqual<readonly string[], readonly string[]>(
          entries,
          sorted.filter((name) => name > after),
        )
      },
    ),
    { numRuns: 25 },
  )
})

import { mkdir, rm, rmdir, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import test from 'ava'
import fc from 'fast-check'
import type { Digest } from '../../../src/lib/digest.ts'
import { RegistryError } from '../../../src/lib/errors.ts'
import type { Tag } from '../../../src/lib/names.ts'
import type { Tags } from '../../../src/registry/tags.ts'
import type { StorageDriver } from '../../../src/storage/driver.ts'
import {
  revisionLink,
  tag as tagFolder,
  tagIndexLink,
  tagLink,
  tags as tagsFolder,
} from '../../../src/storage/layout.ts'
import { allowAll, digestOf, name, openStore, rejectsCode, repo, tag } from './manifests/support.ts'

const a = digestOf('a')
const b = digestOf('b')
/** After this a file that has not changed has a version. */
const settledMs = 2_200

async function allTags(tags: Tags): Promise<readonly Tag[]> {
  return (await tags.list(name, { limit: undefined, after: undefined })).entries
}

test('tags: a link that is empty, torn or missing leads nowhere', async (t) => {
  await using store = await openStore()
  await store.driver.write(tagLink(name, tag('empty')), '')
  await store.driver.write(tagLink(name, tag('torn')), a.slice(0, 30))
  await store.driver.write(tagLink(name, tag('zeros')), Buffer.alloc(71))
  await store.driver.write(tagLink(name, tag('odd')), 'multihash+base58:QmRZxt2b')
  await store.driver.write(tagIndexLink(name, tag('begun'), a), a)
  for (const text of ['empty', 'torn', 'zeros', 'odd', 'begun', 'absent']) {
    t.is(await store.tags.resolve(name, tag(text)), undefined, text)
    await rejectsCode(t, store.tags.delete(name, tag(text)), 'MANIFEST_UNKNOWN')
  }
  t.not(await store.driver.stat(tagFolder(name, tag('begun'))), undefined)
})

test('tags: a link with a line end is read', async (t) => {
  await using store = await openStore()
  await store.driver.write(tagLink(name, tag('x')), `${a}\n`)
  t.is(await store.tags.resolve(name, tag('x')), a)
})

test('tags: a repository that is unknown or emptied is NAME_UNKNOWN', async (t) => {
  await using store = await openStore()
  await rejectsCode(t, allTags(store.tags), 'NAME_UNKNOWN')
  await store.driver.write(revisionLink(name, a), '')
  await mkdir(join(store.root, tagsFolder(name)))
  await rejectsCode(t, allTags(store.tags), 'NAME_UNKNOWN')
})

test('tags: a repository with manifests and no tags has an empty list', async (t) => {
  await using store = await openStore()
  await store.plant(name, Buffer.from('{}'))
  t.deepEqual(await allTags(store.tags), [])
  await store.driver.remove(revisionLink(name, digestOf('{}')), { durable: false })
  await rejectsCode(t, allTags(store.tags), 'NAME_UNKNOWN')
})

test('tags: strays in the folder are not listed', async (t) => {
  await using store = await openStore()
  const folder = join(store.root, tagsFolder(name))
  await store.tags.set(name, tag('good'), a)
  await store.driver.write(tagLink(name, tag('empty')), '')
  await store.driver.write(tagIndexLink(name, tag('begun'), a), a)
  await mkdir(join(folder, 'nothing'))
  await mkdir(join(folder, '.hidden/current'), { recursive: true })
  await writeFile(join(folder, '.hidden/current/link'), a)
  await mkdir(join(folder, `${'x'.repeat(129)}/current`), { recursive: true })
  await writeFile(join(folder, `${'x'.repeat(129)}/current/link`), a)
  await mkdir(join(folder, 'sp ace'))
  await writeFile(join(folder, 'file'), a)
  await writeFile(join(folder, 'x.tmp'), a)
  t.deepEqual(await allTags(store.tags), [tag('good')])
  t.is(await store.tags.resolve(name, tag('x.tmp')), undefined)
})

test('tags: setting writes the history and then the meaning, as registry:2 does', async (t) => {
  const written: string[] = []
  await using store = await openStore({
    wrap: (driver) => ({
      ...driver,
      write: async (path, content) => {
        written.push(path)
        await driver.write(path, content)
      },
    }),
  })
  await store.tags.set(name, tag('x'), a)
  t.deepEqual(written, [tagIndexLink(name, tag('x'), a), tagLink(name, tag('x'))])
  t.is((await store.driver.read(tagLink(name, tag('x'))))?.content.toString(), a)
})

test('tags: deleting takes the tag alone, once', async (t) => {
  await using store = await openStore()
  await store.plant(name, Buffer.from('{}'))
  await store.tags.set(name, tag('x'), digestOf('{}'))
  await store.tags.set(name, tag('y'), digestOf('{}'))
  const results = await Promise.allSettled([
    store.tags.delete(name, tag('x')),
    store.tags.delete(name, tag('x')),
  ])
  t.deepEqual(results.map(({ status }) => status).toSorted(), ['fulfilled', 'rejected'])
  t.is(await store.driver.stat(tagFolder(name, tag('x'))), undefined)
  t.deepEqual(await allTags(store.tags), [tag('y')])
  t.not(await store.driver.stat(revisionLink(name, digestOf('{}'))), undefined)
})

test('tags: deleting asks whether deletes are allowed, before it looks', async (t) => {
  const admission = {
    ...allowAll,
    delete: () => Promise.reject(new RegistryError('DELETE_DISABLED')),
  }
  await using store = await openStore({ admission })
  await store.tags.set(name, tag('x'), a)
  await rejectsCode(t, store.tags.delete(name, tag('x')), 'DELETE_DISABLED')
  await rejectsCode(t, store.tags.delete(name, tag('absent')), 'DELETE_DISABLED')
  t.is(await store.tags.resolve(name, tag('x')), a)
})

test('tags: replacing touches a tag only while it means what is to be replaced', async (t) => {
  await using store = await openStore()
  await store.tags.set(name, tag('x'), a)
  await store.tags.replace(name, tag('x'), { digest: b, instead: undefined })
  t.is(await store.tags.resolve(name, tag('x')), a)
  await store.tags.replace(name, tag('x'), { digest: a, instead: b })
  t.is(await store.tags.resolve(name, tag('x')), b)
  await store.tags.replace(name, tag('x'), { digest: b, instead: undefined })
  t.is(await store.driver.stat(tagFolder(name, tag('x'))), undefined)
})

test('tags: a tag moved while a replacement looks at it is not lost', async (t) => {
  let afterLook = async (): Promise<void> => {}
  await using store = await openStore({
    wrap: (driver) => ({
      ...driver,
      read: async (path) => {
        const file = await driver.read(path)
        if (path === tagLink(name, tag('x'))) await afterLook()
        return file
      },
    }),
  })
  await store.tags.set(name, tag('x'), a)
  let setting: Promise<unknown> | undefined
  afterLook = async () => {
    setting ??= store.tags.set(name, tag('x'), b)
    await Promise.race([setting, sleep(200)]) // as far as it gets
  }
  await store.tags.replace(name, tag('x'), { digest: a, instead: undefined })
  await setting
  t.is(await store.tags.resolve(name, tag('x')), b)
})

test('tags: of parallel sets one wins whole', async (t) => {
  await using store = await openStore()
  await using other = await openStore({ root: store.root })
  const digests = Array.from({ length: 20 }, (_, i) => digestOf(String(i)))
  const seen = new Set<Digest | undefined>()
  const sets = digests.map((digest, i) => (i % 2 ? store : other).tags.set(name, tag('x'), digest))
  let isDone = false
  const watch = async (): Promise<void> => {
    while (!isDone) seen.add(await store.tags.resolve(name, tag('x')))
  }
  const watching = watch()
  await Promise.all(sets)
  isDone = true
  await watching
  seen.delete(undefined) // before the first
  t.true([...seen].every((digest) => digest !== undefined && digests.includes(digest)))
  t.true(digests.includes((await store.tags.resolve(name, tag('x'))) ?? a))
})

test('tags: what another process does is seen although links and lists are remembered', async (t) => {
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
  const kept = ['kept', 'moved', 'removed', 'truncated', 'unlinked'].map(tag)
  for (const text of kept) await store.tags.set(name, text, a)
  await sleep(settledMs)
  for (const text of kept) t.is(await store.tags.resolve(name, text), a)
  t.deepEqual(await allTags(store.tags), kept)
  reads.length = 0
  t.deepEqual(await allTags(store.tags), kept)
  for (const text of kept) t.is(await store.tags.resolve(name, text), a)
  t.deepEqual(reads, [], 'nothing is read twice')

  const folder = join(store.root, tagsFolder(name))
  await writeFile(join(folder, 'moved/current/link'), b) // in place, as registry:2 does
  await truncate(join(folder, 'truncated/current/link'))
  await rm(join(folder, 'removed'), { recursive: true })
  await rm(join(folder, 'unlinked'), { recursive: true })
  await mkdir(join(folder, 'unlinked'))
  t.is(await store.tags.resolve(name, tag('moved')), b)
  t.is(await store.tags.resolve(name, tag('removed')), undefined)
  t.is(await store.tags.resolve(name, tag('truncated')), undefined)
  t.deepEqual(await allTags(store.tags), [tag('kept'), tag('moved')])
})

test('tags: a folder that was no tag yet is listed once it is one', async (t) => {
  await using store = await openStore()
  await store.tags.set(name, tag('b'), a)
  await store.driver.write(tagIndexLink(name, tag('a'), a), a)
  await mkdir(join(store.root, `${tagFolder(name, tag('a'))}/current`))
  await sleep(settledMs)
  t.deepEqual(await allTags(store.tags), [tag('b')])
  // The folder of all tags does not change by this.
  await writeFile(join(store.root, tagLink(name, tag('a'))), a)
  t.deepEqual(await allTags(store.tags), [tag('a'), tag('b')])
  t.deepEqual(await allTags(store.tags), [tag('a'), tag('b')])
})

test('tags: an emptied tags folder is noticed', async (t) => {
  await using store = await openStore()
  await store.tags.set(name, tag('x'), a)
  await sleep(settledMs)
  t.deepEqual(await allTags(store.tags), [tag('x')])
  await rm(join(store.root, tagFolder(name, tag('x'))), { recursive: true })
  await rejectsCode(t, allTags(store.tags), 'NAME_UNKNOWN')
  await rmdir(join(store.root, tagsFolder(name)))
  await rejectsCode(t, allTags(store.tags), 'NAME_UNKNOWN')
})

const tagText = fc.stringMatching(/^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,5}$/)

test('tags: pages put together are the whole list in ASCII order', async (t) => {
  await using store = await openStore()
  let run = 0
  const names = fc.uniqueArray(tagText, { minLength: 1, maxLength: 12 })
  await fc.assert(
    fc.asyncProperty(
      names,
      fc.integer({ min: 1, max: 5 }),
      fc.string(),
      async (texts, limit, after) => {
        const repository = repo(`r${run++}`)
        for (const text of texts) await store.driver.write(tagLink(repository, tag(text)), a)
        const sorted = texts.toSorted((x, y) => (x < y ? -1 : 1))
        const listed: string[] = []
        for (let more = true; more; ) {
          const page = await store.tags.list(repository, { limit, after: listed.at(-1) })
          more = page.more
          t.true(page.entries.length === limit || !more)
          t.true(page.entries.length > 0)
          listed.push(...page.entries)
        }
        t.deepEqual(listed, sorted)
        const rest = await store.tags.list(repository, { limit: undefined, after })
        t.deepEqual<readonly string[], readonly string[]>(
          rest.entries,
          sorted.filter((text) => text > after),
        )
        t.deepEqual(await store.tags.list(repository, { limit: 0, after }), {
          entries: [],
          more: false,
        })
      },
    ),
    { numRuns: 30 },
  )
})

/** A store whose driver lets `act` happen right before it removes a folder. */
function openRaced(folder: string, act: (driver: StorageDriver) => Promise<unknown>) {
  return openStore({
    wrap: (driver) => ({
      ...driver,
      async remove(path, options) {
        if (path === folder) await act(driver)
        return await driver.remove(path, options)
      },
    }),
  })
}

for (const instead of [undefined, b]) {
  test(`tags: what another process makes of a tag is not replaced by ${instead}`, async (t) => {
    const newer = digestOf('newer')
    await using store = await openRaced(tagFolder(name, tag('x')), async (driver) => {
      await driver.write(tagIndexLink(name, tag('x'), newer), newer)
      await driver.write(tagLink(name, tag('x')), newer)
    })
    await store.tags.set(name, tag('x'), a)
    await store.tags.replace(name, tag('x'), { digest: a, instead })
    t.is(await store.tags.resolve(name, tag('x')), newer)
    for (const past of [a, newer])
      t.not(await store.driver.stat(tagIndexLink(name, tag('x'), past)), undefined)
  })

  test(`tags: one made anew while the old one is out of sight stays, not ${instead}`, async (t) => {
    const newer = digestOf('newer')
    await using store = await openStore()
    await store.tags.set(name, tag('x'), a)
    await using other = await openStore({ root: store.root })
    const isDue = async (): Promise<boolean> => {
      t.is(await other.tags.resolve(name, tag('x')), undefined)
      await other.tags.set(name, tag('x'), newer)
      return true
    }
    await store.tags.replace(name, tag('x'), { digest: a, instead, isDue })
    t.is(await store.tags.resolve(name, tag('x')), newer)
  })
}

test('tags: a replacement that is not due leaves the tag and its history', async (t) => {
  await using store = await openStore()
  await store.tags.set(name, tag('x'), b)
  await store.tags.set(name, tag('x'), a)
  for (const instead of [undefined, b]) {
    const isDue = async (): Promise<boolean> => false
    await store.tags.replace(name, tag('x'), { digest: a, instead, isDue })
    t.is(await store.tags.resolve(name, tag('x')), a)
    t.not(await store.driver.stat(tagIndexLink(name, tag('x'), b)), undefined)
  }
})

import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'ava'
import { type Digest, parseDigest } from '../../../src/lib/digest.ts'
import type { RepoName } from '../../../src/lib/names.ts'
import { openSweep } from '../../../src/registry/sweeps.ts'
import type { StorageDriver } from '../../../src/storage/driver.ts'
import { blobData, blobFolder, layer, layerLink } from '../../../src/storage/layout.ts'
import {
  altered,
  createStore,
  digestOf,
  ignore,
  otherRepo,
  readAll,
  repo,
  sourceOf,
} from './uploads/support.ts'

const bytes = 'some bytes'
const digest = digestOf(bytes)
const unknown = { code: 'BLOB_UNKNOWN' }

async function place(
  driver: StorageDriver,
  { name = repo, of = digest, target = of }: { name?: RepoName; of?: Digest; target?: Digest } = {},
) {
  await driver.write(blobData(target), bytes)
  await driver.write(layerLink(name, of), target)
}

/** Makes everything look as if it had been there for an hour. */
async function age(driver: StorageDriver, of = digest, name = repo) {
  const then = Date.now() - 3_600_000
  await driver.touch(blobData(of), then)
  await driver.touch(layerLink(name, of), then)
  return then
}

test('blobs: bytes without a link are BLOB_UNKNOWN, and so is a link without bytes', async (t) => {
  await using store = await createStore()
  await place(store.driver, { name: otherRepo })
  await t.throwsAsync(store.blobs.stat(repo, digest), unknown)
  await t.throwsAsync(store.blobs.open(repo, digest), unknown)
  await store.driver.write(layerLink(repo, digestOf('gone')), digestOf('gone'))
  await t.throwsAsync(store.blobs.stat(repo, digestOf('gone')), unknown)
  await t.throwsAsync(store.blobs.open(repo, digestOf('gone')), unknown)
})

for (const content of ['', digest.slice(0, 40), 'nonsense\n', 'a+b:c']) {
  test(`blobs: a link that holds ${JSON.stringify(content)} is BLOB_UNKNOWN`, async (t) => {
    await using store = await createStore()
    await place(store.driver)
    await store.driver.write(layerLink(repo, digest), content)
    await t.throwsAsync(store.blobs.stat(repo, digest), unknown)
    await t.throwsAsync(store.blobs.open(repo, digest), unknown)
  })
}

test('blobs: a digest of an algorithm that is not stored is BLOB_UNKNOWN everywhere', async (t) => {
  await using store = await createStore()
  const foreign = parseDigest('a+b:c')
  await t.throwsAsync(store.blobs.stat(repo, foreign), unknown)
  await t.throwsAsync(store.blobs.open(repo, foreign), unknown)
  await t.throwsAsync(store.blobs.delete(repo, foreign), unknown)
  t.false(await store.uploads.mount(repo, foreign, undefined))
  t.false(await store.uploads.mount(repo, foreign, otherRepo))
})

test('blobs: the link of another repository does not count', async (t) => {
  await using store = await createStore()
  await place(store.driver)
  t.deepEqual(await store.blobs.stat(repo, digest), { size: bytes.length })
  t.is(`${await readAll(await store.blobs.open(repo, digest))}`, bytes)
  await t.throwsAsync(store.blobs.stat(otherRepo, digest), unknown)
})

test('blobs: a link with a line end is read', async (t) => {
  await using store = await createStore()
  await place(store.driver)
  await store.driver.write(layerLink(repo, digest), `${digest}\n`)
  t.deepEqual(await store.blobs.stat(repo, digest), { size: bytes.length })
})

const alias = digestOf(bytes, 'sha512')

test('blobs: the sha512 link of registry:3 leads to the bytes under sha256', async (t) => {
  await using store = await createStore()
  await place(store.driver)
  await place(store.driver, { of: alias, target: digest })
  t.deepEqual(await store.blobs.stat(repo, alias), { size: bytes.length })
  t.is(`${await readAll(await store.blobs.open(repo, alias))}`, bytes)
})

test('blobs: an alias counts no more when its canonical link was deleted', async (t) => {
  await using store = await createStore()
  await place(store.driver)
  await place(store.driver, { of: alias, target: digest })
  await store.blobs.delete(repo, digest)
  await t.throwsAsync(store.blobs.stat(repo, alias), unknown)
  await t.throwsAsync(store.blobs.open(repo, alias), unknown)
})

test('blobs: aliases that lead to each other lead nowhere', async (t) => {
  await using store = await createStore()
  await place(store.driver, { of: alias, target: digest })
  await place(store.driver, { of: digest, target: alias })
  await t.throwsAsync(store.blobs.stat(repo, alias), unknown)
  await t.throwsAsync(store.blobs.open(repo, digest), unknown)
})

test('blobs: a failing disk is an error, not BLOB_UNKNOWN, and closes what was opened', async (t) => {
  await using store = await createStore()
  await place(store.driver)
  const failing = (method: 'read' | 'open') =>
    store.restart(altered(store.driver, { [method]: () => Promise.reject(new Error('disk')) }))
      .blobs
  await t.throwsAsync(failing('read').open(repo, digest), { message: 'disk' })
  await t.throwsAsync(failing('open').open(repo, digest), { message: 'disk' })
  await t.throwsAsync(failing('read').stat(repo, digest), { message: 'disk' })
})

test('blobs: a delete takes the link away and leaves the bytes', async (t) => {
  await using store = await createStore()
  await place(store.driver)
  await place(store.driver, { name: otherRepo })
  await store.blobs.delete(repo, digest)
  await t.throwsAsync(store.blobs.stat(repo, digest), unknown)
  await t.throwsAsync(store.blobs.delete(repo, digest), unknown)
  t.is(await store.driver.stat(layer(repo, digest)), undefined)
  t.deepEqual(await store.blobs.stat(otherRepo, digest), { size: bytes.length })
})

test('blobs: nothing is deleted where that is disabled, or read-only', async (t) => {
  for (const [options, code] of [
    [{ deleteEnabled: false }, 'DELETE_DISABLED'],
    [{ readonly: true }, 'READ_ONLY'],
  ] as const) {
    await using store = await createStore(options)
    await place(store.driver)
    await t.throwsAsync(store.blobs.delete(repo, digest), { code })
    t.deepEqual(await store.blobs.stat(repo, digest), { size: bytes.length })
  }
})

test('blobs: stat notes the use of an old blob, and of a recent one nothing', async (t) => {
  await using store = await createStore()
  const { driver } = store
  await place(store.driver)
  const then = await age(driver)
  await store.blobs.stat(repo, digest)
  for (const path of [blobData(digest), layerLink(repo, digest)]) {
    t.true(((await driver.stat(path))?.modifiedAt ?? 0) > then + 3_000_000)
  }
  const recently = Date.now() - 10_000
  await driver.touch(blobData(digest), recently)
  await driver.touch(layerLink(repo, digest), recently)
  await store.blobs.stat(repo, digest)
  t.is((await driver.stat(blobData(digest)))?.modifiedAt, recently)
})

test('blobs: a store that cannot be touched is read all the same', async (t) => {
  await using store = await createStore()
  await place(store.driver)
  await age(store.driver)
  const { blobs } = store.restart(
    altered(store.driver, { touch: () => Promise.reject(new Error('EROFS')) }),
  )
  t.deepEqual(await blobs.stat(repo, digest), { size: bytes.length })
})

for (const isOld of [true, false]) {
  test(`blobs: stat promises nothing that a collection removes (${isOld ? 'old' : 'recent'})`, async (t) => {
    await using store = await createStore()
    await place(store.driver)
    if (isOld) await age(store.driver)
    const sweep = await openSweep(store.driver)
    await sweep?.announce([blobFolder(digest)])
    let isOver = false
    const promised = store.blobs.stat(repo, digest).finally(() => t.true(isOver))
    await store.driver.remove(blobFolder(digest), { durable: false })
    isOver = true
    await sweep?.[Symbol.asyncDispose]()
    await t.throwsAsync(promised, unknown)
  })
}

test('blobs: a collection that began and ended between two looks is noticed', async (t) => {
  await using store = await createStore()
  await place(store.driver)
  await age(store.driver)
  let touched = 0
  const { blobs } = store.restart(
    altered(store.driver, {
      async touch(path, at) {
        const isThere = await store.driver.touch(path, at)
        touched += 1
        // It had looked before this use, and removes after it.
        if (touched === 2) await store.driver.remove(blobFolder(digest), { durable: false })
        return isThere
      },
    }),
  )
  await t.throwsAsync(blobs.stat(repo, digest), unknown)
})

test('blobs: a pull does not count as use', async (t) => {
  await using store = await createStore()
  await place(store.driver)
  const then = await age(store.driver)
  await readAll(await store.blobs.open(repo, digest))
  t.is((await store.driver.stat(blobData(digest)))?.modifiedAt, then)
})

test('mount: what nobody has, or not the repository named, cannot be mounted', async (t) => {
  await using store = await createStore()
  t.false(await store.uploads.mount(repo, digest, undefined))
  await store.driver.write(blobData(digest), bytes)
  t.false(await store.uploads.mount(repo, digest, otherRepo))
  await store.driver.write(layerLink(otherRepo, digestOf('gone')), digestOf('gone'))
  t.false(await store.uploads.mount(repo, digestOf('gone'), otherRepo))
  t.deepEqual(await readdir(join(store.root, 'docker/registry/v2/repositories/library')), [
    'debian',
  ])
})

test('mount: a read-only store is READ_ONLY', async (t) => {
  await using store = await createStore({ readonly: true })
  await t.throwsAsync(store.uploads.mount(repo, digest, undefined), { code: 'READ_ONLY' })
})

for (const from of [otherRepo, undefined]) {
  test(`mount: from ${from ?? 'anywhere'} the blob is ours too, and its use is noted`, async (t) => {
    await using store = await createStore()
    await place(store.driver, { name: otherRepo })
    const then = await age(store.driver)
    t.true(await store.uploads.mount(repo, digest, from))
    t.deepEqual(await store.blobs.stat(repo, digest), { size: bytes.length })
    t.true(((await store.driver.stat(blobData(digest)))?.modifiedAt ?? 0) > then)
  })
}

test('mount: what the repository has already is mounted, wherever it should come from', async (t) => {
  await using store = await createStore()
  await place(store.driver)
  t.true(await store.uploads.mount(repo, digest, otherRepo))
})

test('mount: an alias of registry:3 is mounted with what it leads to', async (t) => {
  await using store = await createStore()
  await place(store.driver, { name: otherRepo })
  await place(store.driver, { name: otherRepo, of: alias, target: digest })
  t.true(await store.uploads.mount(repo, alias, otherRepo))
  t.deepEqual(await store.blobs.stat(repo, alias), { size: bytes.length })
  t.deepEqual(await store.blobs.stat(repo, digest), { size: bytes.length })
})

test('mount: bytes that a collection takes are not mounted, and leave no link', async (t) => {
  await using store = await createStore()
  await place(store.driver, { name: otherRepo })
  const sweep = await openSweep(store.driver)
  await sweep?.announce([blobFolder(digest)])
  const mounted = store.uploads.mount(repo, digest, undefined)
  await store.driver.remove(blobFolder(digest), { durable: false })
  await sweep?.[Symbol.asyncDispose]()
  t.false(await mounted)
  t.is(await store.driver.stat(layer(repo, digest)), undefined)
})

test('commit: bytes that a collection took beside it are UNAVAILABLE, not acknowledged', async (t) => {
  await using store = await createStore()
  const taking = altered(store.driver, {
    async move(from, to, options) {
      const isMoved = await store.driver.move(from, to, options)
      if (to.endsWith('/link')) await store.driver.remove(blobFolder(digest), { durable: false })
      return isMoved
    },
  })
  const { uploads, blobs } = store.restart(taking)
  const { id } = await uploads.start(repo)
  const last = { digest, chunk: { source: sourceOf(bytes) } }
  await t.throwsAsync(uploads.finish(repo, id, last, ignore), { code: 'UNAVAILABLE' })
  await t.throwsAsync(blobs.stat(repo, digest), unknown)
})

test('commit: a link that a collection took beside it is written again', async (t) => {
  await using store = await createStore()
  let links = 0
  const taking = altered(store.driver, {
    async move(from, to, options) {
      const isMoved = await store.driver.move(from, to, options)
      if (to.endsWith('/link')) await store.driver.remove(layer(repo, digest), { durable: false })
      return isMoved
    },
    async write(path, content) {
      await store.driver.write(path, content)
      if (path.endsWith('/link')) links += 1
    },
  })
  const { uploads, blobs } = store.restart(taking)
  const { id } = await uploads.start(repo)
  await uploads.finish(repo, id, { digest, chunk: { source: sourceOf(bytes) } }, ignore)
  t.is(links, 1)
  t.deepEqual(await blobs.stat(repo, digest), { size: bytes.length })
})

test('commit: waits for a collection that is about to remove the blob', async (t) => {
  await using store = await createStore()
  await store.driver.write(blobData(digest), bytes)
  const sweep = await openSweep(store.driver)
  await sweep?.announce([blobFolder(digest)])
  const { id } = await store.uploads.start(repo)
  const last = { digest, chunk: { source: sourceOf(bytes) } }
  const pushed = store.uploads.finish(repo, id, last, ignore)
  await store.driver.remove(blobFolder(digest), { durable: false })
  await sweep?.[Symbol.asyncDispose]()
  await pushed
  t.deepEqual(await store.blobs.stat(repo, digest), { size: bytes.length })
})

test('commit: a link that was prepared and went with its folder is written anew', async (t) => {
  await using store = await createStore()
  const taking = altered(store.driver, {
    async move(from, to, options) {
      const isMoved = await store.driver.move(from, to, options)
      if (to === blobData(digest)) t.true(await store.driver.remove(layer(repo, digest), options))
      return isMoved
    },
  })
  const { uploads, blobs } = store.restart(taking)
  const { id } = await uploads.start(repo)
  await uploads.finish(repo, id, { digest, chunk: { source: sourceOf(bytes) } }, ignore)
  t.deepEqual(await blobs.stat(repo, digest), { size: bytes.length })
})

for (const moment of ['before the link goes', 'while it is out of sight']) {
  test(`mount: one that a collection foils spares the link of a push beside it, ${moment}`, async (t) => {
    await using store = await createStore()
    const push = async () => {
      const { id } = await store.uploads.start(repo)
      await store.uploads.finish(repo, id, { digest, chunk: { source: sourceOf(bytes) } }, ignore)
    }
    let pushes = 0
    const { uploads } = store.restart(
      altered(store.driver, {
        async write(path, content) {
          await store.driver.write(path, content)
          // The collection had looked before.
          await store.driver.remove(blobFolder(digest), { durable: false })
        },
        async remove(path, { durable, confirm }) {
          if (path !== layer(repo, digest)) return await store.driver.remove(path, { durable })
          pushes += 1
          if (moment.startsWith('before')) await push()
          return await store.driver.remove(path, {
            durable,
            async confirm(folder) {
              if (!moment.startsWith('before')) await push()
              return (await confirm?.(folder)) ?? true
            },
          })
        },
      }),
    )
    await place(store.driver, { name: otherRepo })
    t.false(await uploads.mount(repo, digest, undefined))
    t.is(pushes, 1)
    t.deepEqual(await store.blobs.stat(repo, digest), { size: bytes.length })
    t.is((await store.driver.read(layerLink(repo, digest)))?.content.toString(), digest)
  })
}

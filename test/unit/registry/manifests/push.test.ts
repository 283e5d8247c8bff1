import { setTimeout as sleep } from 'node:timers/promises'
import test from 'ava'
import { openSweep } from '../../../../src/registry/sweeps.ts'
import type { StorageDriver } from '../../../../src/storage/driver.ts'
import {
  blobData,
  blobFolder,
  layer,
  revision,
  revisionLink,
  tag as tagFolder,
  tagIndexLink,
  tagLink,
} from '../../../../src/storage/layout.ts'
import {
  describe,
  digestOf,
  image,
  index,
  json,
  name,
  openStore,
  pull,
  rejectsCode,
  type Store,
  tag,
  types,
} from './support.ts'

const content = image(['layer'])
const digest = digestOf(content)

/** Keeps an announcement up while `act` runs beside `push`, once that has written its tag. */
async function pushBesideSweep<R>(
  store: Store,
  { paths, push, act }: { paths: string[]; push: () => Promise<R>; act: () => Promise<void> },
): Promise<R> {
  const sweep = await openSweep(store.driver)
  if (sweep === undefined) throw new Error('another sweep is under way')
  await sweep.announce(paths)
  let isPushed = false
  const pushing = push().finally(() => {
    isPushed = true
  })
  pushing.catch(() => {})
  while ((await store.driver.stat(revisionLink(name, digest))) === undefined) await sleep(5)
  await sleep(60)
  if (isPushed) throw new Error('the push did not wait')
  await act()
  await sweep[Symbol.asyncDispose]()
  return pushing
}

/** A driver that does something, once, right after the first write to a path. */
function afterWrite(path: string, act: (driver: StorageDriver) => Promise<void>) {
  let isDone = false
  return (driver: StorageDriver): StorageDriver => ({
    ...driver,
    write: async (to, bytes) => {
      await driver.write(to, bytes)
      if (to !== path || isDone) return
      isDone = true
      await act(driver)
    },
  })
}

for (const [what, folder] of [
  ['its bytes', blobFolder(digest)],
  ['its revision', revision(name, digest)],
  ['its tag', tagFolder(name, tag('x'))],
] as const) {
  test(`manifest-push: a collection that takes ${what} is waited for, and it is written again`, async (t) => {
    await using store = await openStore()
    await store.addBlobs(name, '{}', 'layer')
    const pushed = await pushBesideSweep(store, {
      paths: [folder],
      push: () => store.push(content, ['x']),
      act: async () => void (await store.driver.remove(folder, { durable: false })),
    })
    t.is(pushed, digest)
    t.deepEqual(Object(await pull(store.manifests, tag('x'))).content, content)
  })
}

for (const [what, folder] of [
  ['a layer', blobFolder(digestOf('layer'))],
  ['the link of a layer', layer(name, digestOf('layer'))],
] as const) {
  test(`manifest-push: when a collection takes ${what}, the push fails and leaves no trace`, async (t) => {
    await using store = await openStore()
    await store.addBlobs(name, '{}', 'layer')
    const before = await store.push(image(), ['x'])
    const push = pushBesideSweep(store, {
      paths: [folder],
      push: () => store.push(content, ['x', 'new']),
      act: async () => void (await store.driver.remove(folder, { durable: false })),
    })
    const error = await rejectsCode(t, push, 'MANIFEST_BLOB_UNKNOWN')
    t.deepEqual(error?.detail, { missing: [digestOf('layer')] })
    t.is(await store.tags.resolve(name, tag('x')), before)
    t.is(await store.driver.stat(tagFolder(name, tag('new'))), undefined)
    t.is(await pull(store.manifests, digest), 'MANIFEST_UNKNOWN')
  })
}

test('manifest-push: a layer that may be absent but was there is relied upon', async (t) => {
  const layers = [{ ...describe('far'), urls: ['https://elsewhere.test/layer'] }]
  await using store = await openStore({
    wrap: afterWrite(
      tagLink(name, tag('x')),
      async (driver) =>
        void (await driver.remove(layer(name, digestOf('far')), { durable: false })),
    ),
  })
  await store.addBlobs(name, '{}', 'far')
  await rejectsCode(t, store.push(image([], { layers }), ['x']), 'MANIFEST_BLOB_UNKNOWN')
})

test('manifest-push: a collection that came and went while we wrote is noticed', async (t) => {
  const child = describe(json({ child: 1 }), types.image)
  await using store = await openStore({
    wrap: afterWrite(
      tagLink(name, tag('x')),
      async (driver) =>
        void (await driver.remove(revision(name, child.digest), { durable: false })),
    ),
  })
  await store.plant(name, json({ child: 1 }))
  const error = await rejectsCode(t, store.push(index([child]), ['x']), 'MANIFEST_BLOB_UNKNOWN')
  t.deepEqual(error?.detail, { missing: [child.digest] })
  t.is(await pull(store.manifests, tag('x')), 'MANIFEST_UNKNOWN')
  t.is(await pull(store.manifests, digestOf(index([child]))), 'MANIFEST_UNKNOWN')
})

test('manifest-push: a failed push keeps a revision that was there, and tags that moved on', async (t) => {
  const newer = digestOf('newer')
  await using store = await openStore({
    wrap: afterWrite(tagLink(name, tag('x')), async (driver) => {
      await driver.remove(layer(name, digestOf('layer')), { durable: false })
      await driver.write(tagLink(name, tag('x')), newer)
    }),
  })
  await store.addBlobs(name, '{}', 'layer')
  await store.push(content)
  await rejectsCode(t, store.push(content, ['x']), 'MANIFEST_BLOB_UNKNOWN')
  t.is(await store.tags.resolve(name, tag('x')), newer)
  t.is(Object(await pull(store.manifests, digest)).digest, digest)
})

test('manifest-push: a failed push does not bring back a meaning that is gone', async (t) => {
  await using store = await openStore({
    wrap: afterWrite(tagIndexLink(name, tag('x'), digest), async (driver) => {
      await driver.remove(layer(name, digestOf('layer')), { durable: false })
      await driver.remove(revision(name, digestOf(image())), { durable: false })
    }),
  })
  await store.addBlobs(name, '{}', 'layer')
  await store.push(image(), ['x'])
  await rejectsCode(t, store.push(content, ['x']), 'MANIFEST_BLOB_UNKNOWN')
  t.is(await store.tags.resolve(name, tag('x')), undefined)
})

test('manifest-push: no tag ever means a manifest of which a collection took a part', async (t) => {
  const meanings: unknown[] = []
  await using store = await openStore({
    wrap: (driver) => {
      const taking = afterWrite(revisionLink(name, digest), async () => {
        await driver.remove(layer(name, digestOf('layer')), { durable: false })
      })(driver)
      return {
        ...taking,
        write: async (path, bytes) => {
          if (path === tagLink(name, tag('x'))) meanings.push(`${bytes}`)
          await taking.write(path, bytes)
        },
      }
    },
  })
  await store.addBlobs(name, '{}', 'layer')
  await rejectsCode(t, store.push(content, ['x']), 'MANIFEST_BLOB_UNKNOWN')
  t.deepEqual(meanings, [])
})

test('manifest-push: writing again what was taken does not undo a newer push of the tag', async (t) => {
  const newer = digestOf('newer')
  await using store = await openStore({
    wrap: afterWrite(tagLink(name, tag('x')), async (driver) => {
      await driver.remove(blobData(digest), { durable: false })
      await driver.write(tagLink(name, tag('x')), newer)
    }),
  })
  await store.addBlobs(name, '{}', 'layer')
  t.is(await store.push(content, ['x']), digest)
  t.is(await store.tags.resolve(name, tag('x')), newer)
  t.deepEqual(Object(await pull(store.manifests, digest)).content, content)
})

test('manifest-push: a failed push spares what a push of the same was acknowledged for meanwhile', async (t) => {
  const root = { path: '' }
  let isDone = false
  await using store = await openStore({
    wrap: (driver) => ({
      ...afterWrite(tagIndexLink(name, tag('x'), digest), async () => {
        await driver.remove(layer(name, digestOf('layer')), { durable: false })
      })(driver),
      async remove(path, options) {
        if (!isDone && path === tagFolder(name, tag('x'))) {
          isDone = true
          await using other = await openStore({ root: root.path })
          await other.addBlobs(name, 'layer')
          t.is(await other.push(content, ['x']), digest)
        }
        return await driver.remove(path, options)
      },
    }),
  })
  root.path = store.root
  await store.addBlobs(name, '{}', 'layer')
  await store.push(image(), ['x'])
  await rejectsCode(t, store.push(content, ['x']), 'MANIFEST_BLOB_UNKNOWN')
  t.true(isDone)
  t.is(await store.tags.resolve(name, tag('x')), digest)
  t.deepEqual(Object(await pull(store.manifests, digest)).content, content)
})

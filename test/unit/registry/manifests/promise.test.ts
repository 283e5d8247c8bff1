import test from 'ava'
import type { Digest } from '../../../../src/lib/digest.ts'
import { openSweep } from '../../../../src/registry/sweeps.ts'
import type { StorageDriver } from '../../../../src/storage/driver.ts'
import { revision, revisionLink } from '../../../../src/storage/layout.ts'
import { digestOf, image, name, openStore, rejectsCode, tag } from './support.ts'

/** Makes the revision link of a manifest look an hour old. */
async function ageRevision(driver: StorageDriver, digest: Digest): Promise<number> {
  const then = Date.now() - 3_600_000
  await driver.touch(revisionLink(name, digest), then)
  return then
}

test('manifest-promise: a promise of what is absent, torn or never stored is MANIFEST_UNKNOWN', async (t) => {
  await using store = await openStore()
  await store.driver.write(revisionLink(name, digestOf('torn')), '')
  for (const reference of [digestOf('torn'), digestOf('absent'), tag('absent')])
    await rejectsCode(t, store.manifests.promise(name, reference), 'MANIFEST_UNKNOWN')
})

test('manifest-promise: a promise by digest notes the use of an old manifest; a pull does not', async (t) => {
  await using store = await openStore()
  const content = image()
  const digest = await store.plant(name, content)
  await store.tags.set(name, tag('x'), digest)
  const usedAt = async () => (await store.driver.stat(revisionLink(name, digest)))?.modifiedAt ?? 0
  const then = await ageRevision(store.driver, digest)
  await store.manifests.get(name, digest)
  await store.manifests.promise(name, tag('x'))
  t.is(await usedAt(), then)
  t.deepEqual((await store.manifests.promise(name, digest)).content, content)
  t.true((await usedAt()) > then + 3_000_000)
  const recently = Date.now() - 10_000
  await store.driver.touch(revisionLink(name, digest), recently)
  await store.manifests.promise(name, digest)
  t.is(await usedAt(), recently)
})

test('manifest-promise: nothing that a collection removes is promised', async (t) => {
  for (const isOld of [true, false]) {
    await using store = await openStore()
    const digest = await store.plant(name, image())
    if (isOld) await ageRevision(store.driver, digest)
    const sweep = await openSweep(store.driver)
    await sweep?.announce([revision(name, digest)])
    let isOver = false
    const promised = store.manifests.promise(name, digest).finally(() => t.true(isOver))
    await store.driver.remove(revision(name, digest), { durable: false })
    isOver = true
    await sweep?.[Symbol.asyncDispose]()
    await rejectsCode(t, promised, 'MANIFEST_UNKNOWN')
  }
})

test('manifest-promise: a promise of what cannot be touched is kept to', async (t) => {
  await using store = await openStore({
    wrap: (driver) => ({ ...driver, touch: () => Promise.reject(new Error('EROFS')) }),
  })
  const digest = await store.plant(name, image())
  t.is((await store.manifests.promise(name, digest)).digest, digest)
})

test('manifest-promise: the sha512 link of registry:3 is used with what it leads to', async (t) => {
  await using store = await openStore()
  const content = image()
  const digest = await store.plant(name, content)
  const alias = digestOf(content, 'sha512')
  await store.driver.write(revisionLink(name, alias), digest)
  const then = await ageRevision(store.driver, digest)
  t.is((await store.manifests.promise(name, alias)).digest, alias)
  t.true(((await store.driver.stat(revisionLink(name, digest)))?.modifiedAt ?? 0) > then)
})

import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { type AdmissionOptions, createAdmission } from '../../../src/registry/admission.ts'
import type { StorageDriver } from '../../../src/storage/driver.ts'
import { createFilesystemDriver } from '../../../src/storage/filesystem.ts'
import { readonlyMark } from '../../../src/storage/layout.ts'

async function open(
  options: Partial<AdmissionOptions> = {},
  wrap = (driver: StorageDriver): StorageDriver => driver,
) {
  const directory = await mkdtempDisposable(join(tmpdir(), 'tidegate-admission-'))
  const driver = wrap(createFilesystemDriver({ root: directory.path }))
  const defaults = { readonly: false, deleteEnabled: true, minFree: () => 0 }
  return {
    driver,
    ...createAdmission(driver, { ...defaults, ...options }),
    [Symbol.asyncDispose]: () => directory.remove(),
  }
}

test('admission: everything is admitted by default, even before the folder is there', async (t) => {
  await using store = await open()
  t.false(await store.isReadonly())
  await t.notThrowsAsync(Promise.all([store.write(), store.upload(), store.delete()]))
})

test('admission: the mark in the folder refuses writes at once, and its removal admits them', async (t) => {
  await using store = await open()
  await store.driver.write(readonlyMark, '')
  t.true(await store.isReadonly())
  for (const ask of [store.write, store.upload, store.delete])
    await t.throwsAsync(ask(), { message: 'the registry is read-only at the moment' })
  await store.driver.remove(readonlyMark, { durable: true })
  await t.notThrowsAsync(store.write())
})

test('admission: a read-only configuration needs no mark', async (t) => {
  await using store = await open({ readonly: true })
  t.true(await store.isReadonly())
  for (const ask of [store.write, store.upload, store.delete])
    await t.throwsAsync(ask(), { message: 'the registry is read-only at the moment' })
})

test('admission: deletes are refused unless they are enabled', async (t) => {
  await using store = await open({ deleteEnabled: false })
  await t.throwsAsync(store.delete(), { message: 'deleting is disabled on this registry' })
  await t.notThrowsAsync(store.write())
})

test('admission: below the low-water mark no upload begins, and other writes go on', async (t) => {
  await using store = await open({ minFree: (total) => total })
  await t.throwsAsync(store.upload(), { message: 'the storage of the registry is full' })
  await t.notThrowsAsync(Promise.all([store.write(), store.delete()]))
})

/** A store on a file system with that many files. */
async function openCounted(files: { free: number; total: number } | undefined) {
  const space = async () => ({ free: 1_000_000, total: 1_000_000, files })
  return await open({}, (driver) => ({ ...driver, space }))
}

test('admission: where few files can still be made no upload begins, and other writes go on', async (t) => {
  for (const files of [
    { free: 999, total: 10_000_000 },
    { free: 999, total: 100_000 },
    { free: 9, total: 1_000 },
    { free: 1, total: 120 },
  ]) {
    await using store = await openCounted(files)
    const error = await t.throwsAsync(store.upload(), {
      message: 'the storage of the registry is full',
    })
    t.deepEqual(Object(error).detail, { freeFiles: files.free })
    await t.notThrowsAsync(Promise.all([store.write(), store.delete()]))
  }
})

test('admission: files enough, or files that nobody counts, admit uploads', async (t) => {
  for (const files of [
    undefined,
    { free: 0, total: 1_000_000 },
    { free: 1_000, total: 10_000_000 },
    { free: 10, total: 1_000 },
    { free: 2, total: 120 },
  ]) {
    await using store = await openCounted(files)
    await t.notThrowsAsync(store.upload())
  }
})

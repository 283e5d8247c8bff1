import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { type AdmissionOptions, createAdmission } from '../../../src/registry/admission.ts'
import { createFilesystemDriver } from '../../../src/storage/filesystem.ts'
import { readonlyMark } from '../../../src/storage/layout.ts'

async function open(options: Partial<AdmissionOptions> = {}) {
  const directory = await mkdtempDisposable(join(tmpdir(), 'tidegate-admission-'))
  const driver = createFilesystemDriver({ root: directory.path })
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

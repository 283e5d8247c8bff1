import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'ava'
import type { UploadId } from '../../../../src/lib/names.ts'
import type { StorageDriver } from '../../../../src/storage/driver.ts'
import { upload, uploadDigestNote } from '../../../../src/storage/layout.ts'
import {
  altered,
  createStore,
  digestOf,
  ignore,
  pattern,
  readAll,
  repo,
  sourceOf,
} from './support.ts'

const body = pattern(3 * 1024 * 1024 + 5)
const other = digestOf('something else')

/** A driver that counts which files were opened to be read whole. */
function counting(driver: StorageDriver) {
  const opened: string[] = []
  const open: StorageDriver['open'] = async (path) => {
    opened.push(path)
    return await driver.open(path)
  }
  return { driver: altered(driver, { open }), opened }
}

type Store = Awaited<ReturnType<typeof createStore>>

/** A session that another process has taken `bytes` in for, and one that goes on with it. */
async function handOver(store: Store, bytes: Buffer | string = body) {
  const { id } = await store.uploads.start(repo)
  await store.uploads.append(repo, id, { source: sourceOf(bytes) }, ignore)
  const { driver, opened } = counting(store.driver)
  const note = join(store.root, uploadDigestNote(repo, id))
  return { id, opened, note, ...store.restart(driver) }
}

test('digest note: a note that lies cannot turn a right digest away', async (t) => {
  await using store = await createStore()
  const { id, note, opened, uploads, blobs } = await handOver(store)
  await writeFile(note, (await readFile(note, 'utf8')).replace(digestOf(body), other))
  await uploads.finish(repo, id, { digest: digestOf(body) }, ignore)
  t.is(opened.length, 1)
  t.true((await readAll(await blobs.open(repo, digestOf(body)))).equals(body))
})

for (const [fault, spoil] of [
  ['of fewer bytes', (text: string) => text.replace(` ${body.length} `, ` ${body.length - 1} `)],
  ['of an earlier time', (text: string) => text.replace(/\d\n$/, (end) => `${Number(end) ^ 1}\n`)],
  ['torn', (text: string) => text.slice(0, -1)],
  ['empty', () => ''],
] as const) {
  test(`digest note: one that is ${fault} counts for nothing`, async (t) => {
    await using store = await createStore()
    const { id, note, opened, uploads } = await handOver(store)
    const forged = (await readFile(note, 'utf8')).replace(digestOf(body), other)
    await writeFile(note, spoil(forged))
    const finish = uploads.finish(repo, id, { digest: other }, ignore)
    await t.throwsAsync(finish, { code: 'DIGEST_MISMATCH' })
    t.is(opened.length, 1)
  })
}

test('digest note: with bytes appended by a process that did not see the first, the file is read', async (t) => {
  await using store = await createStore()
  const { id, opened, uploads } = await handOver(store)
  await uploads.append(repo, id, { source: sourceOf('more') }, ignore)
  const finish = uploads.finish(repo, id, { digest: digestOf(body) }, ignore)
  await t.throwsAsync(finish, { code: 'DIGEST_MISMATCH' })
  t.is(opened.length, 1)
})

test('digest note: an append does not fail for want of one', async (t) => {
  await using store = await createStore()
  const create: StorageDriver['create'] = async (path) => {
    if (path.endsWith('/digest')) throw new Error('no note')
    return await store.driver.create(path)
  }
  const { uploads } = store.restart(altered(store.driver, { create }))
  const { id } = await uploads.start(repo)
  const { offset } = await uploads.append(repo, id, { source: sourceOf(body) }, ignore)
  t.is(offset, body.length)
  await store.uploads.finish(repo, id, { digest: digestOf(body) }, ignore)
  t.true((await readAll(await store.blobs.open(repo, digestOf(body)))).equals(body))
})

test('digest note: a session that is cancelled while it is written leaves nothing', async (t) => {
  await using store = await createStore()
  const create: StorageDriver['create'] = async (path) => {
    if (path.endsWith('/digest'))
      await store.uploads.cancel(repo, path.split('/').at(-2) as UploadId)
    return await store.driver.create(path)
  }
  const { uploads } = store.restart(altered(store.driver, { create }))
  const { id } = await uploads.start(repo)
  const appended = uploads.append(repo, id, { source: sourceOf(body) }, ignore)
  await t.throwsAsync(appended, { code: 'BLOB_UPLOAD_UNKNOWN' })
  t.is(await store.driver.stat(upload(repo, id)), undefined)
})

test('digest note: what one process took in another does not read again', async (t) => {
  await using store = await createStore()
  const { id, opened, uploads, blobs } = await handOver(store)
  await uploads.finish(repo, id, { digest: digestOf(body) }, ignore)
  t.deepEqual(opened, [])
  t.true((await readAll(await blobs.open(repo, digestOf(body)))).equals(body))
})

test('digest note: the last append is what it is of', async (t) => {
  await using store = await createStore()
  const { id } = await store.uploads.start(repo)
  await store.uploads.append(repo, id, { source: sourceOf(body) }, ignore)
  await store.uploads.append(repo, id, { source: sourceOf('more') }, ignore)
  const { driver, opened } = counting(store.driver)
  const digest = digestOf(Buffer.concat([body, Buffer.from('more')]))
  await store.restart(driver).uploads.finish(repo, id, { digest }, ignore)
  t.deepEqual(opened, [])
})

test('digest note: little is read again, and no note is left of it', async (t) => {
  await using store = await createStore()
  const { id, opened, note, uploads } = await handOver(store, 'little')
  await t.throwsAsync(readFile(note), { code: 'ENOENT' })
  await uploads.finish(repo, id, { digest: digestOf('little') }, ignore)
  t.is(opened.length, 1)
})

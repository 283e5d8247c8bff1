import { type FileHandle, mkdtempDisposable, open, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import type { StoredWriter } from '../../../src/storage/driver.ts'
import { createWriter } from '../../../src/storage/filesystem-writer.ts'

const step = 32 * 1024 * 1024
const bytes = Buffer.alloc(step)
const broken = Object.assign(new Error('EIO: i/o error, fdatasync'), { code: 'EIO' })

type Flush = PromiseWithResolvers<void>
type Setting = { writer: StoredWriter; flushes: Flush[]; path: string; isClosed: () => boolean }

/** A writer to a real file, whose flushes in the background end when and as the test says. */
async function withWriter(use: (setting: Setting) => Promise<void>): Promise<void> {
  await using dir = await mkdtempDisposable(join(tmpdir(), 'tidegate-'))
  const path = join(dir.path, 'file')
  const file: FileHandle = await open(path, 'ax')
  const flushes: Flush[] = []
  let isClosed = false
  file.datasync = () => {
    const flush = Promise.withResolvers<void>()
    flushes.push(flush)
    return flush.promise
  }
  const close = file.close.bind(file)
  file.close = async () => {
    isClosed = true
    await close()
  }
  const stats = await file.stat({ bigint: true })
  const writer = createWriter({ file, stats, persistName: async () => {} })
  await use({ writer, flushes, path, isClosed: () => isClosed })
}

const turn = () => new Promise(setImmediate)

test('writer: what a flush could not bring to the disk fails the next write and the sync, and goes', (t) =>
  withWriter(async ({ writer, flushes, path }) => {
    await writer.write(bytes)
    flushes[0]?.resolve()
    await turn()
    await writer.write(bytes)
    await writer.write(Buffer.alloc(10))
    flushes[1]?.reject(broken)
    await turn()
    await t.throwsAsync(writer.write(bytes), { code: 'EIO' })
    await t.throwsAsync(writer.sync(), { code: 'EIO' })
    t.is(writer.size, step)
    t.is((await stat(path)).size, step)
    await writer.write(Buffer.alloc(10))
    await writer.sync()
    t.is(writer.size, step + 10)
    await writer[Symbol.asyncDispose]()
  }))

test('writer: what a flush could not bring to the disk is gone when it is closed without a sync', (t) =>
  withWriter(async ({ writer, flushes, path }) => {
    await writer.write(bytes)
    flushes[0]?.reject(broken)
    await writer[Symbol.asyncDispose]()
    t.is((await stat(path)).size, 0)
  }))

test('writer: it is not synced, cut or closed while a flush is under way', (t) =>
  withWriter(async ({ writer, flushes, isClosed }) => {
    await writer.write(bytes)
    const done: string[] = []
    const note = (what: string) => () => void done.push(what)
    const all = [
      writer.sync().then(note('sync')),
      writer.truncate(5).then(note('truncate')),
      writer[Symbol.asyncDispose]().then(note('close')),
    ]
    await turn()
    t.deepEqual(done, [])
    t.false(isClosed())
    flushes[0]?.resolve()
    await Promise.allSettled(all)
    t.true(done.includes('close'))
  }))

test('writer: a large file goes to the disk step by step, one at a time', (t) =>
  withWriter(async ({ writer, flushes }) => {
    await writer.write(bytes.subarray(1))
    t.is(flushes.length, 0)
    await writer.write(bytes)
    await writer.write(bytes)
    t.is(flushes.length, 1)
    flushes[0]?.resolve()
    await turn()
    await writer.write(bytes)
    t.is(flushes.length, 2)
    flushes[1]?.resolve()
    await writer[Symbol.asyncDispose]()
  }))

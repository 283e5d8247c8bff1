import { execFile } from 'node:child_process'
import { readdir, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import test, { type ExecutionContext } from 'ava'
import { parseDigest } from '../../../src/lib/digest.ts'
import { RegistryError } from '../../../src/lib/errors.ts'
import { parseRepoName, parseTag } from '../../../src/lib/names.ts'
import { createAdmission } from '../../../src/registry/admission.ts'
import { createRegistry } from '../../../src/registry/registry.ts'
import type { StorageDriver } from '../../../src/storage/driver.ts'
import { createFilesystemDriver } from '../../../src/storage/filesystem.ts'
import { withRoom } from '../../../src/storage/filesystem-errors.ts'
import { trashRoot, uploads as uploadsFolder } from '../../../src/storage/layout.ts'
import { readText } from '../../suites/storage-driver-case.ts'
import { mountSmallDisk, smallDiskProblem } from '../../support/small-disk.ts'

const problem = await smallDiskProblem()

type OnDisk = (t: ExecutionContext, driver: StorageDriver, root: string) => Promise<void>

/** Registers a test on a file system of its own, mounted with `options`. */
function testOnSmallDisk(title: string, options: string, run: OnDisk): void {
  if (problem !== undefined) {
    test.skip(`${title} (skipped: ${problem})`, () => {})
    return
  }
  test(title, async (t) => {
    await using disk = await mountSmallDisk(options)
    const root = join(disk.path, 'root')
    await run(t, createFilesystemDriver({ root }), root)
  })
}

const full = { instanceOf: RegistryError, code: 'STORAGE_FULL' }

/** Leaves no room on the disk that `root` is on. Resolves with how to make room again. */
async function fillDisk(root: string): Promise<() => Promise<void>> {
  const filler = join(root, '..', 'filler')
  await writeFile(filler, Buffer.alloc(2 * 1024 * 1024)).catch(() => {})
  return () => rm(filler)
}

const content = Buffer.from(Array.from({ length: 700_000 }, (_, index) => index % 251))

test('full disk: no space and no quota left are STORAGE_FULL, and nothing else is', async (t) => {
  for (const code of ['ENOSPC', 'EDQUOT']) {
    const cause = Object.assign(new Error(code), { code })
    const error = await t.throwsAsync(withRoom(Promise.reject(cause)), full)
    t.is(error?.cause, cause)
  }
  const other = Object.assign(new Error('EIO'), { code: 'EIO' })
  t.is(await t.throwsAsync(withRoom(Promise.reject(other))), other)
})

test('full disk: what the system lets nobody write is UNAVAILABLE, with a reason for clients', async (t) => {
  for (const code of ['EROFS', 'EACCES', 'EPERM', 'EMFILE', 'ENFILE']) {
    const cause = Object.assign(new Error(code), { code })
    const error = await t.throwsAsync<RegistryError>(withRoom(Promise.reject(cause)), {
      instanceOf: RegistryError,
      code: 'UNAVAILABLE',
    })
    t.is(error?.cause, cause)
    t.regex(JSON.stringify(error?.detail), /cannot be written|too many files/)
  }
})

testOnSmallDisk(
  'full disk: one that is mounted read-only is UNAVAILABLE for writes, and is read on',
  'size=1m',
  async (t, driver, root) => {
    await driver.write('/folder/file', 'before')
    await promisify(execFile)('mount', ['-o', 'remount,ro', join(root, '..')])
    const refused = { instanceOf: RegistryError, code: 'UNAVAILABLE' }
    await t.throwsAsync(driver.write('/folder/file', 'after'), refused)
    await t.throwsAsync(driver.create('/folder/new'), refused)
    await t.throwsAsync(driver.remove('/folder/file', { durable: true }), refused)
    t.is(await readText(driver, '/folder/file'), 'before')
  },
)

testOnSmallDisk(
  'full disk: a small file that does not fit is STORAGE_FULL, and the one before it stays',
  'size=1m',
  async (t, driver, root) => {
    await driver.write('/folder/file', 'before')
    const makeRoom = await fillDisk(root)
    await t.throwsAsync(driver.write('/folder/file', 'after'), full)
    await t.throwsAsync(driver.write('/folder/other', content), full)
    await t.throwsAsync(driver.copy('/folder/file', '/folder/copy'), full)
    t.deepEqual(await readdir(join(root, 'folder')), ['file'])
    t.is(await readText(driver, '/folder/file'), 'before')
    t.is((await driver.space()).free, 0)
    await makeRoom()
    await driver.write('/folder/file', 'after')
    t.is(await readText(driver, '/folder/file'), 'after')
    t.true((await driver.space()).free > 0)
  },
)

testOnSmallDisk(
  'full disk: a writer keeps what fitted, says how much it is, and goes on when there is room',
  'size=1m',
  async (t, driver, root) => {
    const filler = join(root, '..', 'filler')
    await using writer = await driver.create('/folder/data')
    // Not a multiple of a page, so that the disk is full in the middle of a piece.
    await writer?.write(content.subarray(0, 100_001))
    await writeFile(filler, Buffer.alloc(700_000))
    await t.throwsAsync(async () => writer?.write(content.subarray(100_001)), full)
    const size = writer?.size ?? 0
    t.true(size > 100_001 && size < content.length)
    t.is((await stat(join(root, 'folder/data'))).size, size)
    t.true((await driver.read('/folder/data'))?.content.equals(content.subarray(0, size)))
    await t.throwsAsync(async () => writer?.write(content.subarray(size)), full)
    t.is(writer?.size, size)
    await writer?.sync()

    await rm(filler)
    await writer?.write(content.subarray(size))
    await writer?.sync()
    t.is(writer?.size, content.length)
    t.true((await driver.read('/folder/data'))?.content.equals(content))
  },
)

testOnSmallDisk(
  'full disk: where no more files can be made everything that makes one is STORAGE_FULL',
  'size=1m,nr_inodes=6',
  async (t, driver, root) => {
    await driver.write('/folder/file', 'x')
    for (let index = 0; index < 10; index += 1) {
      await writeFile(join(root, `filler-${index}`), '').catch(() => {})
    }
    await t.throwsAsync(driver.write('/folder/other', 'y'), full)
    await t.throwsAsync(driver.write('/new/folder/file', 'y'), full)
    await t.throwsAsync(driver.create('/folder/other'), full)
    await t.throwsAsync(driver.create('/new/folder/file'), full)
    await t.throwsAsync(driver.copy('/folder/file', '/new/folder/file'), full)
    await t.throwsAsync(driver.move('/folder/file', '/new/folder/file', { durable: true }), full)
    t.is(await readText(driver, '/folder/file'), 'x')
    t.true(await driver.remove('/folder/file', { durable: true }))
  },
)

testOnSmallDisk(
  'full disk: a folder goes where it is when there can be no trash for it, unless it is still wanted',
  'size=1m,nr_inodes=6',
  async (t, driver, root) => {
    await driver.write('/folder/inner/file', 'x')
    for (let index = 0; index < 10; index += 1) {
      await writeFile(join(root, `filler-${index}`), '').catch(() => {})
    }
    t.is((await driver.space()).files?.free, 0)
    const confirm = async (folder: string): Promise<boolean> => {
      t.is(folder, '/folder')
      return false
    }
    t.false(await driver.remove('/folder', { durable: true, confirm }))
    t.is(await readText(driver, '/folder/inner/file'), 'x')
    t.true(await driver.remove('/folder', { durable: true }))
    t.is(await driver.stat('/folder'), undefined)
    t.is((await driver.space()).files?.free, 3)
  },
)

testOnSmallDisk(
  'full disk: uploads and tags can be removed when no more files can be made, and none half begins',
  'size=1m,nr_inodes=60',
  async (t, driver, root) => {
    const admission = createAdmission(driver, {
      readonly: false,
      deleteEnabled: true,
      minFree: () => 0,
    })
    const { uploads, tags } = createRegistry({ driver, admission })
    const name = parseRepoName('a')
    const digest = parseDigest(`sha256:${'0'.repeat(64)}`)
    const { id } = await uploads.start(name)
    await tags.set(name, parseTag('x'), digest)
    for (let index = 0; index < 60; index += 1) {
      await writeFile(join(root, `filler-${index}`), '').catch(() => {})
    }
    // Room for the folder of a session, and none for a file in it.
    await rm(join(root, 'filler-0'))
    await t.throwsAsync(uploads.start(name), full)
    t.is((await driver.list(uploadsFolder(name)))?.length, 1)
    await writeFile(join(root, 'filler-0'), '')
    await t.notThrowsAsync(uploads.cancel(name, id))
    await t.notThrowsAsync(tags.delete(name, parseTag('x')))
  },
)

testOnSmallDisk(
  'remove: a folder goes too when the trash is on another file system',
  'size=1m',
  async (t, driver, root) => {
    await using _trash = await mountSmallDisk('size=64k', root + trashRoot)
    await driver.write('/folder/inner/file', 'x')
    await driver.write('/other/file', 'kept')
    t.true(await driver.remove('/folder', { durable: true }))
    t.is(await driver.stat('/folder'), undefined)
    t.false(await driver.remove('/folder', { durable: true }))
    t.is(await readText(driver, '/other/file'), 'kept')
    const confirm = async (): Promise<boolean> => false
    t.false(await driver.remove('/other', { durable: true, confirm }))
    t.is(await readText(driver, '/other/file'), 'kept')
  },
)

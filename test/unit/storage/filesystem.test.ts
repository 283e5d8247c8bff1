import { once } from 'node:events'
import {
  mkdir,
  mkdtempDisposable,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import test from 'ava'
import { createFilesystemDriver } from '../../../src/storage/filesystem.ts'
import { testStorageDriver } from '../../suites/storage-driver.ts'
import { readText } from '../../suites/storage-driver-case.ts'

const temporary = () => mkdtempDisposable(join(tmpdir(), 'tidegate-storage-'))
const modeOf = async (path: string) => (await stat(path)).mode & 0o7777

testStorageDriver('filesystem driver', async () => {
  const folder = await temporary()
  const again = () => createFilesystemDriver({ root: join(folder.path, 'root') })
  return { driver: again(), again, [Symbol.asyncDispose]: () => folder.remove() }
})

test('filesystem driver: what is too large to be a link or a manifest is not read whole', async (t) => {
  await using folder = await temporary()
  const driver = createFilesystemDriver({ root: folder.path })
  await driver.write('/file', '')
  await truncate(join(folder.path, 'file'), 64 * 1024 * 1024 + 1)
  await t.throwsAsync(driver.read('/file'), { message: /67108865 bytes is too large/ })
  await using reader = await driver.open('/file')
  t.is(reader?.stat.size, 64 * 1024 * 1024 + 1)
})

test('filesystem driver: a link to a missing disk is an error, not a wait', async (t) => {
  await using folder = await temporary()
  await symlink('/nowhere/at/all', join(folder.path, 'blobs'))
  const driver = createFilesystemDriver({ root: folder.path })
  t.is(await driver.stat('/blobs'), undefined)
  await t.throwsAsync(driver.write('/blobs/a/b', 'x'))
  await t.throwsAsync(driver.create('/blobs/a/b'))
  await driver.write('/kept', 'x')
  await t.throwsAsync(driver.move('/kept', '/blobs/a/b', { durable: true }))
  t.is(await readText(driver, '/kept'), 'x')
})

test('filesystem driver: a file in the place of the root is an error', async (t) => {
  await using folder = await temporary()
  const root = join(folder.path, 'file')
  await writeFile(root, 'x')
  const driver = createFilesystemDriver({ root })
  t.is(await driver.list('/a'), undefined)
  await t.throwsAsync(driver.write('/a', 'x'))
  t.is(await readFile(root, 'utf8'), 'x')
})

test('filesystem driver: paths are those below the root, which the first write makes', async (t) => {
  await using folder = await temporary()
  const root = join(folder.path, 'not', 'yet')
  const driver = createFilesystemDriver({ root: `${root}/` })
  await driver.list('/a')
  t.deepEqual(await readdir(folder.path), [])
  await driver.write('/a/b', 'content')
  t.is(await readFile(join(root, 'a', 'b'), 'utf8'), 'content')
})

test('filesystem driver: modes are all that the umask leaves, as registry:2 has them', async (t) => {
  await using folder = await temporary()
  const driver = createFilesystemDriver({ root: join(folder.path, 'root') })
  await driver.write('/a/written', 'x')
  await using _writer = await driver.create('/a/created')
  const umask = process.umask()
  t.is(await modeOf(join(folder.path, 'root')), 0o777 & ~umask)
  t.is(await modeOf(join(folder.path, 'root/a')), 0o777 & ~umask)
  t.is(await modeOf(join(folder.path, 'root/a/written')), 0o666 & ~umask)
  t.is(await modeOf(join(folder.path, 'root/a/created')), 0o666 & ~umask)
})

test('filesystem driver: links are followed, and what is neither file nor folder is not there', async (t) => {
  await using folder = await temporary()
  const driver = createFilesystemDriver({ root: folder.path })
  await driver.write('/real/file', 'x')
  await mkdir(join(folder.path, 'mixed'))
  for (const [name, target] of [
    ['to-folder', '../real'],
    ['to-file', '../real/file'],
  ] as const) {
    await symlink(target, join(folder.path, 'mixed', name))
  }
  await writeFile(join(folder.path, 'mixed', 'a name no path can have'), 'x')
  const socket = createServer().listen(join(folder.path, 'mixed', 'socket'))
  await once(socket, 'listening')
  try {
    const entries = await driver.list('/mixed')
    const kinds = Object.fromEntries(entries?.map(({ name, kind }) => [name, kind]) ?? [])
    t.deepEqual(kinds, { 'to-folder': 'folder', 'to-file': 'file' })
    t.is(await driver.stat('/mixed/socket'), undefined)
    t.is(await readText(driver, '/mixed/to-folder/file'), 'x')
    t.is(await readText(driver, '/mixed/to-file'), 'x')
  } finally {
    socket.close()
  }
})

test('filesystem driver: a listing with a link to what is not there fails, and names it', async (t) => {
  await using folder = await temporary()
  const driver = createFilesystemDriver({ root: folder.path })
  for (const [name, target] of [
    ['to-nothing', '../none'],
    ['to-itself', 'to-itself'],
  ] as const) {
    await driver.write(`/${name}/kept/file`, 'x')
    await symlink(target, join(folder.path, name, name))
    await t.throwsAsync(driver.list(`/${name}`), { message: new RegExp(`/${name}/${name} leads`) })
  }
})

test('filesystem driver: a link that goes while its folder is listed is there or not, and no error', async (t) => {
  await using folder = await temporary()
  const driver = createFilesystemDriver({ root: folder.path })
  await driver.write('/folder/real', 'x')
  const link = join(folder.path, 'folder', 'link')
  for (let round = 0; round < 200; round += 1) {
    await symlink('real', link)
    const [entries] = await Promise.all([driver.list('/folder'), rm(link)])
    const names = entries?.map(({ name }) => name).sort()
    t.true(names?.join() === 'real' || names?.join() === 'link,real', `${names}`)
  }
})

test('filesystem driver: a link to a folder is removed, and the folder stays', async (t) => {
  await using folder = await temporary()
  const driver = createFilesystemDriver({ root: folder.path })
  await driver.write('/real/file', 'x')
  await symlink('real', join(folder.path, 'link'))
  t.true(await driver.remove('/link', { durable: true }))
  t.is(await driver.stat('/link'), undefined)
  await driver.write('/top/file', 'x')
  await symlink('../real', join(folder.path, 'top', 'link'))
  t.true(await driver.remove('/top', { durable: false }))
  t.is(await readText(driver, '/real/file'), 'x')
})

test('filesystem driver: a file that registry:2.8 overwrites in place is never taken for settled', async (t) => {
  await using folder = await temporary()
  const driver = createFilesystemDriver({ root: folder.path })
  const path = join(folder.path, 'link')
  let isWriting = true
  const overwrite = async (): Promise<void> => {
    for (let round = 0; round < 300; round += 1)
      await writeFile(path, Buffer.alloc((round % 4) * 5000))
    isWriting = false
  }
  await writeFile(path, '')
  const overwriting = overwrite()
  while (isWriting) {
    const file = await driver.read('/link')
    t.is(file?.stat.size, file?.content.length)
    t.is(file?.stat.version, undefined)
  }
  await overwriting
})

test('filesystem driver: content as old as its stat is what the version vouches for', async (t) => {
  await using folder = await temporary()
  const driver = createFilesystemDriver({ root: folder.path })
  await driver.write('/file', 'x'.repeat(5000))
  await using file = await open(join(folder.path, 'file'), 'r+')
  // Younger than two seconds by the time of change, whatever its time of modification says.
  await file.utimes(1, 1)
  t.is((await driver.read('/file'))?.stat.version, undefined)
  t.is((await driver.read('/file'))?.stat.modifiedAt, 1000)
})

test('filesystem driver: a writer whose folder went keeps what it has, and says so', async (t) => {
  await using folder = await temporary()
  const driver = createFilesystemDriver({ root: folder.path })
  await using writer = await driver.create('/uploads/one/data')
  await writer?.write(Buffer.from('x'))
  t.true(await driver.remove('/uploads/one', { durable: false }))
  await writer?.write(Buffer.from('y'))
  await writer?.sync()
  t.is(writer?.size, 2)
  t.is(await driver.stat('/uploads/one'), undefined)
})

test('filesystem driver: appends of two processes never overwrite each other', async (t) => {
  await using folder = await temporary()
  const [one, two] = [0, 1].map(() => createFilesystemDriver({ root: folder.path }))
  await using first = await one?.create('/data')
  await using second = await two?.append('/data')
  for (let round = 0; round < 20; round += 1) {
    await Promise.all([first?.write(Buffer.from('aaaa')), second?.write(Buffer.from('bbbb'))])
  }
  const content = await readFile(join(folder.path, 'data'), 'utf8')
  t.regex(content, /^(?:aaaa|bbbb){40}$/)
  t.is(first?.size, 80)
})

test('filesystem driver: a folder that was renamed away is made again by whoever writes to it', async (t) => {
  await using folder = await temporary()
  const driver = createFilesystemDriver({ root: folder.path })
  let isRunning = true
  const renaming = (async () => {
    for (let round = 0; isRunning; round += 1) {
      await mkdir(join(folder.path, 'a', 'b'), { recursive: true })
      await rename(join(folder.path, 'a'), join(folder.path, `away-${round}`)).catch(() => {})
      await sleep(20)
    }
  })()
  try {
    for (let round = 0; round < 50; round += 1) {
      await t.notThrowsAsync(driver.write('/a/b/file', 'x'))
      await driver.write('/source', 'x')
      t.true(await driver.move('/source', '/a/b/file', { durable: true }))
    }
  } finally {
    isRunning = false
    await renaming
  }
})

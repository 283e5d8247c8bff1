import { constants, copyFile, type FileHandle, open, stat, statfs, utimes } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import type {
  StorageDriver,
  StoragePath,
  StorageSpace,
  StoredReader,
  StoredWriter,
} from './driver.ts'
import { createDurableNames, type DurableNames } from './durable-names.ts'
import { errorCode, ifPresent, isAbsence, withRoom } from './filesystem-errors.ts'
import { inFolder, relocate, replaceWhole } from './filesystem-folders.ts'
import { createLook } from './filesystem-looks.ts'
import { describeStats, fill, listFolder, openFile, readSmallFile } from './filesystem-reading.ts'
import { type Disk, removing } from './filesystem-removal.ts'
import { createWriter, writeAll } from './filesystem-writer.ts'

const grammar = /^(?:\/(?!\.{1,2}(?:\/|$))[A-Za-z0-9._=-]+)+$/
const { COPYFILE_EXCL, COPYFILE_FICLONE, O_APPEND, O_RDONLY, O_WRONLY } = constants

/**
 * Keeps everything in files below the folder `root`, which is made by the first write. Owner and modes
 * are registry:2's: all that the umask leaves.
 */
export function createFilesystemDriver({ root: folder }: { readonly root: string }): StorageDriver {
  const root = resolve(folder)
  const prefix = root === '/' ? '' : root
  // Whoever makes a path checks what it is made of; this is for the day somebody forgets.
  const locate = (path: StoragePath): string => {
    if (!grammar.test(path)) throw new TypeError(`not a storage path: ${JSON.stringify(path)}`)
    return prefix + path
  }
  const disk: Disk = { locate, names: createDurableNames(root) }
  return { ...reading(disk), ...writing(disk), ...removing(disk), space: () => space(root) }
}

function reading({ locate }: Disk): Pick<StorageDriver, 'stat' | 'list' | 'read' | 'open'> {
  const look = createLook()
  return {
    async stat(path) {
      const asOf = Date.now()
      const stats = await look(locate(path))
      return stats && describeStats(stats, asOf)
    },
    list: async (path) => listFolder(locate(path)),
    read: async (path) => readSmallFile(locate(path)),
    async open(path) {
      const asOf = Date.now()
      const opened = await openFile(locate(path), O_RDONLY)
      const described = opened && describeStats(opened.stats, asOf)
      return opened && described && createReader(opened.file, described)
    },
  }
}

function createReader(file: FileHandle, stat: StoredReader['stat']): StoredReader {
  return {
    stat,
    read: (buffer, position) => fill(file, buffer, position),
    [Symbol.asyncDispose]: () => file.close(),
  }
}

function writing(
  disk: Disk,
): Pick<StorageDriver, 'write' | 'create' | 'append' | 'move' | 'copy' | 'touch'> {
  const { locate, names } = disk
  return {
    write: async (path, content) => withRoom(write(locate(path), content, names)),
    create: async (path) => withRoom(create(locate(path), names)),
    append: async (path) => withRoom(append(locate(path), names)),
    copy: async (from, to) => withRoom(copy(locate(from), locate(to))),
    async move(from, to, { durable }) {
      const [source, target] = [locate(from), locate(to)]
      const isMoved = await withRoom(relocate(source, target))
      const folder = dirname(target)
      if (dirname(source) !== folder) names.forgetFile(folder)
      if (isMoved && durable) await withRoom(names.persistFolder(folder))
      return isMoved
    },
    async touch(path, at = Date.now()) {
      const seconds = at / 1000
      const touched = utimes(locate(path), seconds, seconds).then(() => true)
      return (await withRoom(ifPresent(touched))) ?? false
    },
  }
}

async function write(
  target: string,
  content: string | Uint8Array,
  names: DurableNames,
): Promise<void> {
  const bytes = typeof content === 'string' ? Buffer.from(content) : content
  const folder = dirname(target)
  await inFolder(folder, () =>
    replaceWhole(target, async (temporary) => {
      await using file = await open(temporary, 'wx')
      await writeAll(file, bytes)
      await file.sync()
    }),
  )
  await names.persistFolder(folder)
}

async function create(target: string, names: DurableNames): Promise<StoredWriter | undefined> {
  const file = await inFolder(dirname(target), () => open(target, 'ax')).catch(ignoreExisting)
  if (file === undefined) return undefined
  try {
    const stats = await file.stat({ bigint: true })
    return createWriter({ file, stats, persistName: (of) => names.persistFile(target, of) })
  } catch (error) {
    await file.close()
    throw error
  }
}

function ignoreExisting(error: unknown): undefined {
  if (errorCode(error) !== 'EEXIST') throw error
}

async function append(target: string, names: DurableNames): Promise<StoredWriter | undefined> {
  const opened = await openFile(target, O_WRONLY | O_APPEND)
  return opened && createWriter({ ...opened, persistName: (of) => names.persistFile(target, of) })
}

function copy(from: string, to: string): Promise<boolean> {
  return inFolder(dirname(to), async () => {
    try {
      await replaceWhole(to, async (temporary) => {
        await copyFile(from, temporary, COPYFILE_EXCL | COPYFILE_FICLONE)
        // Its name may be lost with the power; but there must be no name without the bytes.
        await using file = await open(temporary, O_RDONLY)
        await file.sync()
      })
      return true
    } catch (error) {
      if (isAbsence(error) && (await ifPresent(stat(from))) === undefined) return false
      throw error
    }
  })
}

async function space(root: string): Promise<StorageSpace> {
  // Before the first write there is no root; it will be made where the nearest folder above it is.
  for (let path = root; ; path = dirname(path)) {
    const stats = await ifPresent(statfs(path))
    if (stats !== undefined) {
      const { bavail, blocks, bsize, ffree, files } = stats
      const counted = files > 0 ? { free: ffree, total: files } : undefined
      return { free: bavail * bsize, total: blocks * bsize, files: counted }
    }
  }
}

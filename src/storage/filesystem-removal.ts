import { randomUUID } from 'node:crypto'
import { rmdir, unlink } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Removal, StorageDriver, StoragePath } from './driver.ts'
import type { DurableNames } from './durable-names.ts'
import { errorCode, isAbsence, isFull, withRoom } from './filesystem-errors.ts'
import { relocate, removeTree } from './filesystem-folders.ts'
import { trashRoot } from './layout.ts'

export type Disk = {
  readonly locate: (path: StoragePath) => string
  readonly names: DurableNames
}

/** What remains to be done for something that is to be removed. */
type Remains =
  /** Nothing was there. */
  | 'absent'
  /** It was a file, and has gone. */
  | 'nothing'
  /** It was a folder, and is in the trash. */
  | 'grave'
  /** It is a folder that cannot be moved. */
  | 'all'

/** Removes files at once, and folders by way of the trash. */
export function removing({ locate, names }: Disk): Pick<StorageDriver, 'remove' | 'removeEmpty'> {
  const persist = (target: string): Promise<void> => withRoom(names.persistFolder(dirname(target)))

  /** Whether what is at `at` may go. If not, a folder that was called `path` is called so again. */
  const mayGo = async (
    confirm: Removal['confirm'],
    at: StoragePath,
    path: StoragePath,
  ): Promise<boolean> => {
    if (confirm === undefined) return true
    const isConfirmed = await confirm(at).catch(async (error) => {
      await putBack(at, path).catch(() => {})
      throw error
    })
    return isConfirmed || !(await putBack(at, path))
  }

  /** False if the name is another's by now, or somebody has emptied the trash. */
  const putBack = async (at: StoragePath, path: StoragePath): Promise<boolean> => {
    if (at === path) return true
    const isBack = await withRoom(relocate(locate(at), locate(path))).catch(ignoreTaken)
    if (isBack) await persist(locate(path))
    return isBack
  }

  return {
    async remove(path, { durable, confirm }) {
      const target = locate(path)
      const grave = `${trashRoot}/${randomUUID()}`
      const remains = await withRoom(detach(target, locate(grave)))
      if (remains === 'absent') return false
      if (remains === 'grave' && !(await mayGo(confirm, grave, path))) return false
      if (remains === 'all') {
        if (!(await mayGo(confirm, path, path))) return false
        await withRoom(removeTree(target))
      }
      if (durable) await persist(target)
      // From here on it is gone for everybody. What cannot be deleted now stays in the trash.
      if (remains === 'grave') await removeTree(locate(grave)).catch(() => {})
      return true
    },
    async removeEmpty(path) {
      try {
        await withRoom(rmdir(locate(path)))
        return true
      } catch (error) {
        if (isAbsence(error) || isInUse(error)) return false
        throw error
      }
    },
  }
}

/** Takes a file away, or a folder to `grave`. */
async function detach(target: string, grave: string): Promise<Remains> {
  try {
    await unlink(target)
    return 'nothing'
  } catch (error) {
    if (isAbsence(error)) return 'absent'
    // Linux says EISDIR, POSIX EPERM.
    if (!['EISDIR', 'EPERM'].includes(errorCode(error) ?? '')) throw error
  }
  try {
    return (await relocate(target, grave)) ? 'grave' : 'absent'
  } catch (error) {
    // The trash is on another file system, or the folder is in a lower layer of a container image; or
    // the disk is full, and removing this is what makes room.
    if (errorCode(error) !== 'EXDEV' && !isFull(error)) throw error
    return 'all'
  }
}

function ignoreTaken(error: unknown): false {
  if (isInUse(error) || errorCode(error) === 'ENOTDIR') return false
  throw error
}

function isInUse(error: unknown): boolean {
  // Other systems than Linux say EEXIST of a folder with something in it; EBUSY is a mount point.
  return ['ENOTEMPTY', 'EEXIST', 'EBUSY'].includes(errorCode(error) ?? '')
}

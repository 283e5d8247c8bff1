import type { BigIntStats } from 'node:fs'
import { constants, open } from 'node:fs/promises'
import { dirname } from 'node:path'
import { createBoundedMap } from '../lib/bounded-map.ts'
import { errorCode, ifPresent } from './filesystem-errors.ts'

/*
 * A file whose content is on disk is still lost with its name, which is in its folder, whose name is
 * in the folder above, and so on: a name is durable once all of them are synced. Syncing ten folders
 * for every link would be slow, so it is remembered which names are durable.
 *
 * Other processes remove and make folders too, so a name that was durable may by now stand for another
 * folder that is not. Hence inode and time of birth are remembered with it. As no folder is ever moved
 * except into the trash, or back, the same one under the same name has the same folders above it.
 */

/** Makes the names of files and folders survive power loss. */
export type DurableNames = {
  /** Makes what happened to the names in `folder` durable, and the folder's own name. */
  persistFolder(folder: string): Promise<void>
  /**
   * Makes the name of the file `path`, which `stats` belongs to, durable if it is not known that some
   * name of it in this folder is: renamed within a folder, it survives under the one name or the other.
   */
  persistFile(path: string, stats: BigIntStats): Promise<void>
  /** To be told when a file came to `folder` from another. */
  forgetFile(folder: string): void
}

const maxRemembered = 10_000
/**
 * Times of birth come from a clock that ticks every 10 ms at worst. In its first moments a folder could
 * be replaced by another with the same inode and the same time, so it is not remembered that early.
 */
const minAgeMs = 100

/** Knows what this process has made durable below `root`. Paths are absolute. */
export function createDurableNames(root: string): DurableNames {
  const known = createBoundedMap<string, string>({
    max: maxRemembered,
    ttlMs: Number.POSITIVE_INFINITY,
  })
  const isKnown = (path: string, identity: string | undefined): boolean =>
    identity !== undefined && known.get(path) === identity
  const remember = (path: string, identity: string | undefined): void => {
    if (identity !== undefined) known.set(path, identity)
  }

  const persistFolder = async (folder: string): Promise<void> => {
    const persisted: { path: string; identity: string | undefined }[] = []
    for (let path = folder; ; path = dirname(path)) {
      const identity = isOutside(path, root) ? await syncForeign(path) : await syncFolder(path)
      if (isKnown(path, identity)) break
      persisted.push({ path, identity })
      if (path === dirname(path)) break
    }
    // Not before: a name that somebody finds here vouches for all the folders above it.
    for (const { path, identity } of persisted) remember(path, identity)
  }

  return {
    persistFolder,
    async persistFile(path, stats) {
      const identity = identify(stats)
      const folder = dirname(path)
      if (isKnown(fileIn(folder), identity)) return
      await persistFolder(folder)
      remember(fileIn(folder), identity)
    },
    forgetFile: (folder) => known.delete(fileIn(folder)),
  }
}

/** Where the last file is remembered that was made durable in a folder; no folder is called that. */
function fileIn(folder: string): string {
  return `${folder}/`
}

function isOutside(path: string, root: string): boolean {
  return path.length < root.length
}

/**
 * Syncs a folder above the root, in case the root is as new as all the rest; an operator's folder that
 * may not be read is the operator's affair.
 */
async function syncForeign(path: string): Promise<string | undefined> {
  try {
    return await syncFolder(path)
  } catch (error) {
    if (['EACCES', 'EPERM', 'EROFS'].includes(errorCode(error) ?? '')) return undefined
    throw error
  }
}

/**
 * Syncs a folder and resolves with its identity. One that has gone is passed over: it went with what
 * was in it, and syncing the folder above makes just that durable.
 */
async function syncFolder(path: string): Promise<string | undefined> {
  const folder = await ifPresent(open(path, constants.O_RDONLY | constants.O_DIRECTORY))
  if (folder === undefined) return undefined
  try {
    const [stats] = await Promise.all([
      folder.stat({ bigint: true }),
      folder.sync().catch(ignoreUnsupported),
    ])
    return identify(stats)
  } finally {
    await folder.close()
  }
}

/** Some network file systems cannot sync a folder; on them a name is as durable as the server makes it. */
function ignoreUnsupported(error: unknown): void {
  if (!['EINVAL', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS'].includes(errorCode(error) ?? '')) throw error
}

/** Undefined where the file system tells too little to be sure. */
function identify({ dev, ino, birthtimeNs }: BigIntStats): string | undefined {
  const isOldEnough = Date.now() - Number(birthtimeNs / 1_000_000n) >= minAgeMs
  return birthtimeNs > 0n && isOldEnough ? `${dev}-${ino}-${birthtimeNs}` : undefined
}

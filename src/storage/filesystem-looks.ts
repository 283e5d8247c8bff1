import { type BigIntStats, statSync } from 'node:fs'
import { stat, statfs } from 'node:fs/promises'
import { createBoundedMap } from '../lib/bounded-map.ts'
import { ifPresent, isAbsence } from './filesystem-errors.ts'

/** File systems on disks of this machine, by the `f_type` of statfs(2): ext2 to 4, XFS, Btrfs, tmpfs,
 *  overlay, ZFS, F2FS, bcachefs. */
const localTypes: ReadonlySet<number> = new Set([
  0xef53, 0x58465342, 0x9123683e, 0x01021994, 0x794c7630, 0x2fc12fc1, 0xf2f52010, 0xca451a4e,
])
/** What was looked at this recently is in the system's memory. */
const recentMs = 5_000
const maxRecent = 16_384

/** Returns what is at a path, undefined if there is nothing; throws or rejects with the system's errors. */
type Look = (path: string) => BigIntStats | undefined | Promise<BigIntStats | undefined>

/**
 * Makes a function that stats a path.
 *
 * A link that is pulled by all the world is looked at on every request. In a thread a look costs 15 to
 * 40 us of CPU, nearly all of it for waking the thread and being woken; on the spot it costs 2. So what was
 * looked at a moment ago, on a disk of this machine, is looked at on the spot; what may have to be
 * fetched, from a disk or over a network, never is: the whole server would wait for it.
 */
export function createLook(): Look {
  /** The device of each path, and when it was last looked at; the least recent come first. */
  const recent = new Map<string, { readonly device: bigint; readonly at: number }>()
  const isLocal = createLocalCheck()

  const remember = (path: string, device: bigint): void => {
    recent.set(path, { device, at: performance.now() })
    if (recent.size <= maxRecent) return
    for (const first of recent.keys()) {
      recent.delete(first)
      return
    }
  }
  const lookInThread = async (path: string): Promise<BigIntStats | undefined> => {
    const stats = await ifPresent(stat(path, { bigint: true }))
    if (stats !== undefined && (await isLocal(stats.dev, path))) remember(path, stats.dev)
    return stats
  }

  return (path) => {
    const last = recent.get(path)
    recent.delete(path)
    if (last === undefined || performance.now() - last.at >= recentMs) return lookInThread(path)
    const stats = lookNow(path)
    // On another device it may be one that is far away.
    if (stats?.dev === last.device) remember(path, last.device)
    return stats
  }
}

function lookNow(path: string): BigIntStats | undefined {
  try {
    return statSync(path, { bigint: true, throwIfNoEntry: false })
  } catch (error) {
    if (isAbsence(error)) return undefined
    throw error
  }
}

/**
 * Makes a function that tells whether a path's device is a disk of this machine. Remembered for a while: the
 * system gives the number of a device that is gone to another.
 */
function createLocalCheck(): (device: bigint, path: string) => Promise<boolean> {
  const known = createBoundedMap<bigint, boolean>({ max: 64, ttlMs: 60_000 })
  return async (device, path) => {
    const answer = known.get(device)
    if (answer !== undefined) return answer
    const stats = await ifPresent(statfs(path))
    // Gone since it was looked at; the next path tells.
    if (stats === undefined) return false
    known.set(device, localTypes.has(stats.type))
    return localTypes.has(stats.type)
  }
}

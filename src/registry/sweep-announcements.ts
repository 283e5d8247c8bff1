import { setTimeout as sleep } from 'node:timers/promises'
import type { StorageDriver, StoragePath, StoredStat } from '../storage/driver.ts'
import { sweepsRoot } from '../storage/layout.ts'
import { isTemporary } from './store-walk.ts'

/** An announcement that stood still for this long, while somebody watched, is of a dead collection. */
const deadAfterMs = 30_000
const pollMs = 50
/** Most that one look adds: who was itself stopped has not watched. */
const maxStepMs = 1_000
/** The end of the name of an announcement that names everything, having no room to name anything. */
const everything = '.all'
/** An empty file, to become such an announcement when there is no room for a new one. */
const spare: StoragePath = `${sweepsRoot}/spare`

/** The announcement of everything that a run may make. */
export function announcementOfAll(run: string): StoragePath {
  return `${sweepsRoot}/${run}${everything}`
}

/** The announcement that a run makes as its `batch`th. */
export function announcementOf(run: string, batch: number): StoragePath {
  return `${sweepsRoot}/${run}.${batch}`
}

/** True for an announcement that names everything, whatever is in it. */
export function namesEverything(file: StoragePath): boolean {
  return file.endsWith(everything)
}

/** All announcements there are. So few names are listed in one step, and none is missed that stays. */
export async function listAnnouncements(driver: StorageDriver): Promise<StoragePath[]> {
  return ((await driver.list(sweepsRoot)) ?? [])
    .filter(({ kind, name }) => kind === 'file' && !isTemporary(name))
    .map(({ name }) => `${sweepsRoot}/${name}`)
    .filter((file) => file !== spare)
}

/**
 * Makes the folder of announcements, and the spare file in it, while there is room for them: on a full
 * disk the next collection is what makes room.
 */
export async function prepareSweeps(driver: StorageDriver): Promise<void> {
  await (await driver.create(spare))?.[Symbol.asyncDispose]()
}

/** Announces everything. That takes no room as long as there is a spare file. */
export async function announceAll(driver: StorageDriver, file: StoragePath): Promise<void> {
  if (await driver.move(spare, file, { durable: false })) await driver.touch(file)
  else await (await driver.create(file))?.[Symbol.asyncDispose]()
}

/** Takes an announcement back; false if it is not there. */
export async function endAnnouncement(driver: StorageDriver, file: StoragePath): Promise<boolean> {
  return namesEverything(file)
    ? await driver.move(file, spare, { durable: false })
    : await driver.remove(file, { durable: false })
}

/** Removes what killed collections were about to announce. One that is just beginning writes it again. */
export async function clearTemporary(driver: StorageDriver): Promise<void> {
  for (const { name } of (await driver.list(sweepsRoot)) ?? []) {
    if (isTemporary(name)) await driver.remove(`${sweepsRoot}/${name}`, { durable: false })
  }
}

export type Vigil = {
  /** How long an announcement stands still before it is removed, by our own watching. */
  readonly patienceMs?: number | undefined
  /** Goes away as soon as it is seen that the collection lives. */
  readonly untilRenewed?: boolean
  readonly signal?: AbortSignal | undefined
}

/**
 * Waits until an announcement is gone, and removes it if nobody renews it. False if it stays although it
 * is of a dead collection, since it cannot be removed; whoever cannot even look at it rejects, for it
 * may be of a living one.
 */
export async function outlast(
  driver: StorageDriver,
  file: StoragePath,
  { patienceMs = deadAfterMs, untilRenewed = false, signal }: Vigil,
): Promise<boolean> {
  const watch = createWatch(driver, file)
  for (let isFirst = true; !signal?.aborted; isFirst = false) {
    const { isGone, isRenewed, unchangedMs } = await watch()
    if (isGone || (untilRenewed && isRenewed && !isFirst)) return true
    if (unchangedMs >= patienceMs) {
      return await endAnnouncement(driver, file).then(
        () => true,
        () => false,
      )
    }
    await sleep(pollMs)
  }
  return true
}

type Look = {
  readonly isGone: boolean
  /** Whether it was touched since the last look. */
  readonly isRenewed: boolean
  readonly unchangedMs: number
}

/** Makes a function that tells what happened to an announcement since it was called last. */
function createWatch(driver: StorageDriver, file: StoragePath): () => Promise<Look> {
  let last: StoredStat | undefined
  let lastAt = performance.now()
  let unchangedMs = 0
  return async () => {
    const stat = await driver.stat(file)
    const isRenewed = stat?.modifiedAt !== last?.modifiedAt
    const now = performance.now()
    unchangedMs = isRenewed ? 0 : unchangedMs + Math.min(now - lastAt, maxStepMs)
    lastAt = now
    last = stat
    return { isGone: stat === undefined, isRenewed, unchangedMs }
  }
}

/**
 * Removes the announcements of collections that were killed, each after having watched it for
 * `patienceMs`; leaves those that are renewed.
 */
export async function buryDead(
  driver: StorageDriver,
  vigil: Omit<Vigil, 'untilRenewed'> = {},
): Promise<void> {
  const files = await listAnnouncements(driver)
  await Promise.all(files.map((file) => outlast(driver, file, { ...vigil, untilRenewed: true })))
}

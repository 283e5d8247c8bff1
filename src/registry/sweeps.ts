import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { RegistryError } from '../lib/errors.ts'
import type { StorageDriver, StoragePath, StoredStat } from '../storage/driver.ts'
import { sweepsRoot } from '../storage/layout.ts'

/*
 * How a collection and the pushes beside it, in this process or another, keep out of each other's way
 * without a lock. A collection marks what is in use, then
 *   announces what it is about to remove → looks again → removes what is still unused.
 * A push
 *   writes → looks for an announcement of what it relies on → acknowledges;
 * if there is one it waits for its end, looks whether everything is still there, and if it has to write
 * anything again begins anew. Whichever of the two acts first is seen by the other, so nothing
 * acknowledged is removed, whatever the clocks say. See docs/adr/0007-collection-while-serving.md.
 *
 * What a push relies on goes by the paths `layer`, `revision`, `tag` and `blobFolder` of layout.ts.
 *
 * Only a collection that was killed needs time: it is known by an announcement that nobody renews. How
 * long nothing changed is measured by whoever waits, on its own clock, so clocks need not agree.
 */

/** How often a living collection renews its announcement. */
const beatMs = 5_000
/** A collection that could not renew for this long removes nothing more. */
const maxSilenceMs = 15_000
/** An announcement that stood still for this long, while somebody watched, is of a dead collection. The
 *  difference to `maxSilenceMs` is what one removal may take. */
const deadAfterMs = 30_000
const pollMs = 50
/** The end of the name of an announcement that names everything, having no room to name anything. */
const everything = '.all'

/**
 * Resolves once no collection is about to remove any of `paths`; true if it had to wait for that, so
 * that the caller looks again whether they are there.
 */
export async function settleSweeps(
  driver: StorageDriver,
  paths: readonly StoragePath[],
  patienceMs = deadAfterMs,
): Promise<boolean> {
  let waited = false
  // Those that come after this listing look again after we have written, and see it.
  for (const file of await announcements(driver)) {
    if (await outlast(driver, file, { paths, patienceMs })) waited = true
  }
  return waited
}

async function announcements(driver: StorageDriver): Promise<StoragePath[]> {
  return ((await driver.list(sweepsRoot)) ?? [])
    .filter(({ kind, name }) => kind === 'file' && !name.endsWith('.tmp'))
    .map(({ name }) => `${sweepsRoot}/${name}`)
}

/** Waits until the announcement names none of `paths`; false if it did not from the first. */
async function outlast(
  driver: StorageDriver,
  file: StoragePath,
  { paths, patienceMs }: { paths: readonly StoragePath[]; patienceMs: number },
): Promise<boolean> {
  const watch = createWatch(driver, file)
  for (let waited = false; ; waited = true) {
    const { isGone, isNew, unchangedMs } = await watch()
    if (isGone) return waited
    if (isNew) {
      const announced = await driver.read(file)
      if (announced === undefined || !names(file, announced.content, paths)) return waited
    }
    if (unchangedMs >= patienceMs) {
      await driver.remove(file, { durable: false })
      return true
    }
    await sleep(pollMs)
  }
}

function names(file: StoragePath, content: Buffer, paths: readonly StoragePath[]): boolean {
  return file.endsWith(everything) || paths.some((path) => content.includes(`\n${path}\n`))
}

type Look = {
  readonly isGone: boolean
  /** Whether it was written or touched since the last look. */
  readonly isRenewed: boolean
  /** Whether what it says may be new. */
  readonly isNew: boolean
  readonly unchangedMs: number
}

/** Makes a function that tells what happened to an announcement since it was called last. */
function createWatch(driver: StorageDriver, file: StoragePath): () => Promise<Look> {
  let last: StoredStat | undefined
  let changedAt = 0
  return async () => {
    const stat = await driver.stat(file)
    const isRenewed = stat?.modifiedAt !== last?.modifiedAt
    if (isRenewed) changedAt = performance.now()
    const isNew = isRenewed || stat?.version === undefined || stat.version !== last?.version
    last = stat
    const unchangedMs = performance.now() - changedAt
    return { isGone: stat === undefined, isRenewed, isNew, unchangedMs }
  }
}

export type Sweep = AsyncDisposable & {
  /** When it began, by the clock that stamps files. */
  readonly startedAt: number
  /** Says that `paths`, and nothing else any more, are about to be removed. */
  announce(paths: Iterable<StoragePath>): Promise<void>
  /** True while the announcement is sure to be believed; ask before each removal. */
  isHeard(): boolean
}

/**
 * Begins a collection; undefined while another one is under way on this folder. Disposing ends it.
 * What a killed collection announced is removed, for which this has to watch it for `patienceMs`.
 * Two that begin at the same moment may both give way. Two at once would do no harm.
 */
export async function openSweep(
  driver: StorageDriver,
  patienceMs = deadAfterMs,
): Promise<Sweep | undefined> {
  const others = await Promise.all(
    (await announcements(driver)).map((file) => bury(driver, file, patienceMs)),
  )
  if (others.includes(false)) return undefined
  await clearTemporary(driver)
  const list = `${sweepsRoot}/${randomUUID()}`
  const own = [list, list + everything]
  let heardAt = clocks()
  const announce = async (paths: Iterable<StoragePath>): Promise<void> => {
    const at = clocks()
    try {
      await driver.write(list, `\n${[...paths].join('\n')}\n`)
    } catch (error) {
      if (!isFull(error)) throw error
      // Where there is no room for a list there is mostly still some for a name.
      await (await driver.create(list + everything))?.[Symbol.asyncDispose]()
    }
    heardAt = at
  }
  const beat = async (): Promise<void> => {
    const at = clocks()
    const touched = await Promise.all(own.map((file) => driver.touch(file)))
    if (touched.includes(true)) heardAt = at
  }
  await announce([])
  const stats = await Promise.all(own.map((file) => driver.stat(file)))
  const startedAt = stats.find((stat) => stat !== undefined)?.modifiedAt ?? Date.now()
  // A failed beat shows in `isHeard` soon enough.
  const timer = setInterval(() => void beat().catch(() => {}), beatMs).unref()
  const sweep: Sweep = {
    startedAt,
    announce,
    isHeard: () => elapsedMs(heardAt) < maxSilenceMs,
    async [Symbol.asyncDispose]() {
      clearInterval(timer)
      // What stays is taken for dead before long.
      await Promise.allSettled(own.map((file) => driver.remove(file, { durable: false })))
    },
  }
  if ((await announcements(driver)).every((file) => own.includes(file))) return sweep
  await sweep[Symbol.asyncDispose]()
  return undefined
}

/** Removes what killed collections were about to announce. One that is just beginning writes it again. */
async function clearTemporary(driver: StorageDriver): Promise<void> {
  for (const { name } of (await driver.list(sweepsRoot)) ?? []) {
    if (name.endsWith('.tmp')) await driver.remove(`${sweepsRoot}/${name}`, { durable: false })
  }
}

function isFull(error: unknown): boolean {
  return error instanceof RegistryError && error.code === 'STORAGE_FULL'
}

/**
 * Makes the folder of announcements, while there is room for a folder: on a full disk the next
 * collection is what makes room.
 */
export async function prepareSweeps(driver: StorageDriver): Promise<void> {
  const file = `${sweepsRoot}/${randomUUID()}.tmp`
  await (await driver.create(file))?.[Symbol.asyncDispose]()
  await driver.remove(file, { durable: false })
}

/** Removes an announcement that nobody renews; false if somebody does. */
async function bury(
  driver: StorageDriver,
  file: StoragePath,
  patienceMs: number,
): Promise<boolean> {
  const watch = createWatch(driver, file)
  for (let looked = false; ; looked = true) {
    const { isGone, isRenewed, unchangedMs } = await watch()
    if (isGone) return true
    if (isRenewed && looked) return false
    if (unchangedMs >= patienceMs) {
      await driver.remove(file, { durable: false })
      return true
    }
    await sleep(pollMs)
  }
}

/** One clock goes on while the machine sleeps, the other is never set back. */
function clocks(): { readonly wall: number; readonly steady: number } {
  return { wall: Date.now(), steady: performance.now() }
}

function elapsedMs({ wall, steady }: ReturnType<typeof clocks>): number {
  return Math.max(Date.now() - wall, performance.now() - steady)
}

import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { RegistryError } from '../lib/errors.ts'
import type { StorageDriver, StoragePath } from '../storage/driver.ts'
import {
  announceAll,
  announcementOf,
  announcementOfAll,
  buryDead,
  clearTemporary,
  endAnnouncement,
  listAnnouncements,
  namesEverything,
  outlast,
} from './sweep-announcements.ts'

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
 * An announcement is a file `<run>.<batch>`, and says the same from its first moment to its last, so that
 * whoever has read one need not read it again. The next batch, or what is left of one, is a new file, and
 * the old one is removed only when that is there: at no moment is something about to be removed that no
 * announcement names, and who lists them meets one or the other. `<run>.all` names everything.
 *
 * Only a collection that was killed needs time: it is known by an announcement that nobody renews. How
 * long nothing changed is measured by whoever waits, on its own clock, so clocks need not agree. A
 * collection that finds that it was silent for too long is over for good: it may have been taken for dead,
 * and somebody may rely by now on what it has found unused.
 */

/** How often a living collection renews its announcement. */
const beatMs = 5_000
/** A collection that could not renew for this long removes nothing more. The difference to what takes it
 *  for dead is what one removal may take. */
const maxSilenceMs = 15_000
const pollMs = 50

/**
 * Resolves once no collection is about to remove any of `paths`; true if it had to wait for that, so
 * that the caller looks again whether they are there.
 */
export async function settleSweeps(
  driver: StorageDriver,
  paths: readonly StoragePath[],
  patienceMs?: number,
): Promise<boolean> {
  for (let waited = false; ; waited = true) {
    // What is announced after this listing is looked at again after we have written, and seen as used.
    const file = await findNaming(driver, paths)
    if (file === undefined) return waited
    // Nobody renews it, and on a disk that takes no writes nobody removes it, nor anything else.
    if (!(await outlast(driver, file, { patienceMs })))
      namesOf(driver).set(file, Promise.resolve(new Set()))
  }
}

/** An announcement that names one of `paths`. */
async function findNaming(
  driver: StorageDriver,
  paths: readonly StoragePath[],
): Promise<StoragePath | undefined> {
  for (;;) {
    const files = await listAnnouncements(driver)
    const names = await readNames(driver, files)
    const found = files.find((_, index) => paths.some((path) => names[index]?.has(path)))
    // One that is gone by now may have been followed by one that was not there to be listed.
    if (found !== undefined || !names.includes(undefined)) return found
    // A listing that still shows what is gone, as network file systems have it, is not asked at once again.
    await sleep(pollMs)
  }
}

type Names = Promise<Pick<ReadonlySet<StoragePath>, 'has'> | undefined>

/**
 * What announcements name, which every HEAD of a blob asks for while there are any. At the level of the
 * module, because those who ask share nothing but the driver; each driver has its own.
 */
const known = new WeakMap<StorageDriver, Map<StoragePath, Names>>()

function namesOf(driver: StorageDriver): Map<StoragePath, Names> {
  const ofDriver = known.get(driver) ?? new Map<StoragePath, Names>()
  known.set(driver, ofDriver)
  return ofDriver
}

/** What the announcements name, in their order; undefined for one that is gone. */
async function readNames(
  driver: StorageDriver,
  files: readonly StoragePath[],
): Promise<readonly Awaited<Names>[]> {
  const ofDriver = namesOf(driver)
  for (const file of ofDriver.keys()) if (!files.includes(file)) ofDriver.delete(file)
  const look = (file: StoragePath): Names => {
    const names = ofDriver.get(file) ?? parseNames(driver, file)
    ofDriver.set(file, names)
    // Nothing is remembered of one that could not be read.
    const forget = () => ofDriver.delete(file)
    void names.then((found) => found ?? forget(), forget)
    return names
  }
  return await Promise.all(files.map(look))
}

async function parseNames(driver: StorageDriver, file: StoragePath): Names {
  if (namesEverything(file)) return { has: () => true }
  const announced = await driver.read(file)
  return announced && new Set(announced.content.toString('latin1').split('\n'))
}

export type Sweep = AsyncDisposable & {
  /** When it began, by the clock that stamps files. */
  readonly startedAt: number
  /** Says that `paths`, and nothing else any more, are about to be removed. Says nothing when unheard. */
  announce(paths: Iterable<StoragePath>): Promise<void>
  /** True while the announcement is sure to be believed; ask before each removal. Once false, always. */
  isHeard(): boolean
}

/**
 * Begins a collection; undefined while another one is under way on this folder. Disposing ends it.
 * What a killed collection announced is removed, for which this has to watch it for `patienceMs`.
 * Two that begin at the same moment may both give way. Two at once would do no harm.
 */
export async function openSweep(
  driver: StorageDriver,
  patienceMs?: number,
): Promise<Sweep | undefined> {
  await buryDead(driver, { patienceMs })
  if ((await listAnnouncements(driver)).length > 0) return undefined
  await clearTemporary(driver)
  await using stack = new AsyncDisposableStack()
  const { sweep, own } = await beginSweep(driver)
  // An announcement that nobody ends, and that its timer renews, would be waited for for ever.
  stack.use(sweep)
  if (!(await listAnnouncements(driver)).every((file) => own.has(file))) return undefined
  stack.move()
  return sweep
}

async function beginSweep(
  driver: StorageDriver,
): Promise<{ readonly sweep: Sweep; readonly own: ReadonlySet<StoragePath> }> {
  const publish = createPublisher(driver)
  const own = new Set<StoragePath>()
  const belief = createBelief()
  let current = await publish([], own)
  const announce = async (paths: Iterable<StoragePath>): Promise<void> => {
    // Not after a silence: whoever took us for dead may rely on any of it.
    if (!belief.isHeld()) return
    const next = await publish(paths, own)
    const last = current
    current = next
    if (last === next) return
    if (!(await endAnnouncement(driver, last))) belief.end()
    own.delete(last)
  }
  const beat = async (): Promise<void> => {
    if (!belief.isHeld()) return
    const file = current
    const at = clocks()
    if (await driver.touch(file)) belief.renew(at)
    else if (file === current) belief.end()
  }
  const startedAt = await startOf(driver, current)
  // A failed beat shows in `isHeard` soon enough.
  const timer = setInterval(() => void beat().catch(() => {}), beatMs).unref()
  const sweep: Sweep = {
    ...{ startedAt, announce, isHeard: belief.isHeld },
    async [Symbol.asyncDispose]() {
      clearInterval(timer)
      // What stays is taken for dead before long.
      await Promise.allSettled([...own].map((file) => endAnnouncement(driver, file)))
    },
  }
  return { sweep, own }
}

/** When an announcement was made. One that cannot be looked at is taken back. */
async function startOf(driver: StorageDriver, file: StoragePath): Promise<number> {
  try {
    return (await driver.stat(file))?.modifiedAt ?? Date.now()
  } catch (error) {
    await endAnnouncement(driver, file).catch(() => {})
    throw error
  }
}

/** Makes a function that writes a run's next announcement, tells its name, and adds that to `own`. */
function createPublisher(driver: StorageDriver) {
  const run = randomUUID()
  let batch = 0
  return async (paths: Iterable<StoragePath>, own: Set<StoragePath>): Promise<StoragePath> => {
    batch += 1
    const list = announcementOf(run, batch)
    own.add(list)
    try {
      await driver.write(list, `\n${[...paths].join('\n')}\n`)
      return list
    } catch (error) {
      if (!isFull(error)) throw error
    }
    const all = announcementOfAll(run)
    if (!own.has(all)) await announceAll(driver, all)
    own.add(all)
    return all
  }
}

/** Whether others still take a collection for a living one, as far as it can know itself. */
function createBelief() {
  let heardAt = clocks()
  let isOver = false
  const isHeld = (): boolean => {
    isOver ||= elapsedMs(heardAt) >= maxSilenceMs
    return !isOver
  }
  return {
    isHeld,
    end(): void {
      isOver = true
    },
    /** For a renewal that was begun at `at` and has ended; one that came too late counts for nothing. */
    renew(at: Clocks): void {
      if (isHeld()) heardAt = at
    },
  }
}

function isFull(error: unknown): boolean {
  return error instanceof RegistryError && error.code === 'STORAGE_FULL'
}

type Clocks = { readonly wall: number; readonly steady: number }

/** One clock goes on while the machine sleeps, the other is never set back. */
function clocks(): Clocks {
  return { wall: Date.now(), steady: performance.now() }
}

function elapsedMs({ wall, steady }: Clocks): number {
  return Math.max(Date.now() - wall, performance.now() - steady)
}

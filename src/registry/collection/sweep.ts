import { mapOrdered } from '../../lib/map-ordered.ts'
import type { RepoName } from '../../lib/names.ts'
import type { StoragePath } from '../../storage/driver.ts'
import type { Sweep } from '../sweeps.ts'
import {
  type Condemned,
  type KnownReferences,
  type MarkContext,
  markRepository,
  type RepositoryMark,
} from './mark.ts'
import { linkTime } from './stored.ts'

/** Most links announced at once: pushes read announcements, and wait for what is in one. */
const maxLinks = 2_000
/** After so many removals those are taken from the announcement, for pushes that wait for them. */
const maxRemovals = 1_000
/** Removals under way together. */
const width = 4

export type SweepContext = MarkContext & {
  readonly sweep: Sweep
  readonly signal: AbortSignal | undefined
}

/** What became of something condemned. */
export type Fate = 'removed' | 'spared' | 'left'

export type SweepItem = { readonly path: StoragePath; readonly announced: StoragePath }

/**
 * Removes a batch by the protocol of sweeps.ts, as far as `lookAgain` still condemns it; `onFate` learns
 * what became of each. False if nothing more may be removed.
 */
export async function sweepBatch<T extends SweepItem>(
  { driver, sweep, signal }: SweepContext,
  batch: readonly T[],
  steps: {
    readonly lookAgain: () => Promise<ReadonlySet<T>>
    /** Whether it is as it was condemned; a last look, as a batch takes its time. */
    readonly isSame: (item: T) => Promise<boolean>
    readonly onFate: (item: T, fate: Fate) => void
  },
): Promise<boolean> {
  signal?.throwIfAborted()
  await sweep.announce(new Set(batch.map(({ announced }) => announced)))
  const condemned = await steps.lookAgain()
  let isHeard = true
  const settle = async (item: T): Promise<void> => {
    if (!condemned.has(item) || !(await steps.isSame(item))) return steps.onFate(item, 'spared')
    isHeard &&= sweep.isHeard() && !signal?.aborted
    if (!isHeard) return steps.onFate(item, 'left')
    // Not durable: should it come back after power loss, it is collected the next time. The next
    // announcement is durable, and with it, on a journaling file system, all that was done before it.
    if (await driver.remove(item.path, { durable: false })) steps.onFate(item, 'removed')
  }
  for (let start = 0; start < batch.length; start += maxRemovals) {
    const end = start + maxRemovals
    await Array.fromAsync(mapOrdered(batch.slice(start, end), width, settle))
    if (isHeard) await sweep.announce(new Set(batch.slice(end).map(({ announced }) => announced)))
  }
  return isHeard
}

/**
 * Removes condemned links, of revisions and layers and the history of tags. False if nothing more may
 * be removed.
 */
export async function sweepLinks(
  context: SweepContext,
  repositories: readonly RepositoryMark[],
  onFate: (item: Condemned, fate: Fate) => void,
): Promise<boolean> {
  const byName = new Map(repositories.map((mark) => [mark.name, mark.condemned]))
  const isSame = async ({ path, modifiedAt }: Condemned): Promise<boolean> =>
    (await linkTime(context.driver, path)) === modifiedAt
  // Batches follow each other through one repository.
  let known = new Map<RepoName, KnownReferences>()
  const all = repositories.flatMap(({ condemned }) => condemned)
  for (let start = 0; start < all.length; start += maxLinks) {
    const batch = all.slice(start, start + maxLinks)
    const names = new Set(batch.map(({ name }) => name))
    known = new Map([...names].map((name) => [name, known.get(name) ?? new Map()]))
    const lookAgain = () => stillCondemned(context, batch, { byName, known })
    if (await sweepBatch(context, batch, { lookAgain, isSame, onFate })) continue
    for (const item of all.slice(start + maxLinks)) onFate(item, 'left')
    return false
  }
  return true
}

type FirstLook = {
  readonly byName: ReadonlyMap<RepoName, readonly Condemned[]>
  readonly known: ReadonlyMap<RepoName, KnownReferences>
}

/** Marks the repositories of a batch again, where nothing may come in unnoticed any more. */
async function stillCondemned(
  context: SweepContext,
  batch: readonly Condemned[],
  { byName, known }: FirstLook,
): Promise<ReadonlySet<Condemned>> {
  const still = new Set<Condemned>()
  for (const [name, items] of Map.groupBy(batch, (item) => item.name)) {
    const again = { ...context, known: known.get(name) }
    const mark = await markRepository(again, name, byName.get(name) ?? [])
    const times = new Map(mark.condemned.map(({ path, modifiedAt }) => [path, modifiedAt]))
    for (const item of items) if (times.get(item.path) === item.modifiedAt) still.add(item)
  }
  return still
}

import type { RepoName } from '../lib/names.ts'
import type { StoragePath } from '../storage/driver.ts'
import {
  type Condemned,
  type MarkContext,
  markRepository,
  type RepositoryMark,
} from './collection-mark.ts'
import type { Sweep } from './sweeps.ts'

/** Most that is announced at once: pushes read announcements, and wait for what is in one. */
export const maxBatch = 2_000

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
    readonly onFate: (item: T, fate: Fate) => void
  },
): Promise<boolean> {
  signal?.throwIfAborted()
  await sweep.announce(new Set(batch.map(({ announced }) => announced)))
  const condemned = await steps.lookAgain()
  let isHeard = true
  for (const item of batch) {
    isHeard &&= sweep.isHeard() && !signal?.aborted
    if (!condemned.has(item)) steps.onFate(item, 'spared')
    else if (!isHeard) steps.onFate(item, 'left')
    // Not durable: should it come back after power loss, it is collected the next time. The next
    // announcement is durable, and with it, on a journaling file system, all that was done before it.
    else if (await driver.remove(item.path, { durable: false })) steps.onFate(item, 'removed')
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
  const all = repositories.flatMap(({ condemned }) => condemned)
  for (let start = 0; start < all.length; start += maxBatch) {
    const batch = all.slice(start, start + maxBatch)
    const lookAgain = () => stillCondemned(context, batch, byName)
    if (await sweepBatch(context, batch, { lookAgain, onFate })) continue
    for (const item of all.slice(start + maxBatch)) onFate(item, 'left')
    return false
  }
  return true
}

/** Marks the repositories of a batch again, where nothing may come in unnoticed any more. */
async function stillCondemned(
  context: SweepContext,
  batch: readonly Condemned[],
  byName: ReadonlyMap<RepoName, readonly Condemned[]>,
): Promise<ReadonlySet<Condemned>> {
  const still = new Set<Condemned>()
  for (const [name, items] of Map.groupBy(batch, (item) => item.name)) {
    const mark = await markRepository(context, name, byName.get(name) ?? [])
    const times = new Map(mark.condemned.map(({ path, modifiedAt }) => [path, modifiedAt]))
    for (const item of items) if (times.get(item.path) === item.modifiedAt) still.add(item)
  }
  return still
}

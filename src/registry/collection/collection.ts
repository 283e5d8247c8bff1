import type { Logger } from 'pino'
import { mapOrdered } from '../../lib/map-ordered.ts'
import type { RepoName } from '../../lib/names.ts'
import type { StorageDriver } from '../../storage/driver.ts'
import { repositoriesRoot } from '../../storage/layout.ts'
import { listRepositories } from '../store-walk.ts'
import { openSweep, type Sweep } from '../sweeps.ts'
import { namingFailures, UnreadableError } from '../unreadable.ts'
import { findCondemnedBlobs, sweepBlobs } from './blobs.ts'
import { type MarkContext, type Marks, markRepository, type RepositoryMark } from './mark.ts'
import { pruneFolders, pruneRepository } from './prune.ts'
import { type CollectionReport, createTally, type Findings, type Tally } from './report.ts'
import { markStranger } from './strangers.ts'
import { sweepLinks } from './sweep.ts'

/** An upload that moved this recently is of a push under way, whatever the grace. */
const minBusyMs = 60_000
/** Repositories looked at together; each is looked at in several places at once. */
const width = 2

export type CollectionOptions = {
  /** Age below which nothing is removed. */
  readonly graceMs: number
  /** What becomes of manifests that no tag, no index and no subject keeps. */
  readonly untagged: 'keep' | 'delete'
  /** Only reports what would be removed. */
  readonly dryRun: boolean
}

export type CollectionParts = {
  readonly driver: StorageDriver
  readonly log: Logger
  readonly options: CollectionOptions
  readonly signal?: AbortSignal | undefined
}

/**
 * Removes what nothing in the store refers to, while the registry serves: manifests and layer links of
 * repositories, then blobs, then empty repositories. See docs/adr/0007-collection-while-serving.md.
 * Undefined if another collection is under way.
 *
 * Memory: about 150 bytes for each blob and manifest that is kept, 400 for each thing condemned, and what
 * the manifests of two repositories refer to.
 *
 * Rejects if something cannot be read, and then nothing was removed; or if something cannot be removed,
 * or `signal` is aborted, and then the rest is left to the next.
 */
export async function collect(parts: CollectionParts): Promise<CollectionReport | undefined> {
  const named = { ...parts, driver: namingFailures(parts.driver) }
  if (parts.options.dryRun) return await run(named, undefined)
  await using sweep = await openSweep(named.driver)
  return sweep && (await run(named, sweep))
}

async function run(
  { driver, log, options, signal }: CollectionParts,
  sweep: Sweep | undefined,
): Promise<CollectionReport> {
  const begun = performance.now()
  const startedAt = sweep?.startedAt ?? Date.now()
  const policy = {
    untagged: options.untagged,
    youngAfter: startedAt - options.graceMs,
    busyAfter: startedAt - Math.max(options.graceMs, minBusyMs),
  }
  const marks: Marks = { blobs: new Set(), followed: new Set() }
  const context: Context = { driver, policy, marks, signal, log }
  const found = await markAll(context)
  const tally = createTally()
  if (sweep === undefined) pretend(found, tally)
  else await removeAll({ ...context, sweep }, found, tally)
  return tally.report(found, {
    ...options,
    started: new Date(startedAt).toISOString(),
    durationMs: Math.round(performance.now() - begun),
  })
}

type Context = MarkContext & {
  readonly signal: AbortSignal | undefined
  readonly log: Logger
}

async function markAll(context: Context): Promise<Findings> {
  const { driver, marks, signal, log } = context
  const tree = await listRepositories(driver)
  for (const path of tree.strangers) {
    log.warn({ path }, 'a folder among the repositories has no name that a repository can have')
    await markStranger(driver, path, marks)
  }
  const found: RepositoryMark[] = []
  const look = (name: RepoName) => markRepository(context, name)
  for await (const mark of mapOrdered(tree.repositories, width, look)) {
    signal?.throwIfAborted()
    if (!mark.isKnown)
      log.warn({ repository: mark.name }, 'a manifest cannot be read: the repository is kept whole')
    found.push(mark)
  }
  const census = await findCondemnedBlobs(context, signal)
  // A push makes this folder first, and nothing removes it.
  if (census.count > 0 && (await driver.stat(repositoriesRoot)) === undefined) {
    const reason = 'is not there, so every blob would seem to be unused: nothing is collected'
    throw new UnreadableError(repositoriesRoot, reason)
  }
  return { tree, marks: found, census }
}

/** Counts as if everything that is condemned had been removed. */
function pretend({ marks, census }: Findings, tally: Tally): void {
  for (const item of marks.flatMap(({ condemned }) => condemned)) tally.onLink(item, 'removed')
  for (const blob of census.condemned) tally.onBlob(blob, 'removed')
  for (const { name } of marks.filter(isEmpty)) tally.onRepository(name)
}

async function removeAll(
  context: Context & { readonly sweep: Sweep },
  { tree, marks, census }: Findings,
  tally: Tally,
): Promise<void> {
  const { driver } = context
  // Links first, so that none ever outlives its blob.
  const goesOn = await sweepLinks(context, marks, tally.onLink)
  const { true: used = [], false: unused = [] } = Object.groupBy(census.condemned, ({ digest }) =>
    context.marks.blobs.has(digest) ? 'true' : 'false',
  )
  for (const blob of used) tally.onBlob(blob, 'spared')
  if (goesOn) await sweepBlobs(context, unused, tally.onBlob)
  else for (const blob of unused) tally.onBlob(blob, 'left')
  for (const { name } of marks.filter(isEmpty)) {
    if (await pruneRepository(driver, name)) tally.onRepository(name)
  }
  for (const path of census.temporary) await driver.remove(path, { durable: false })
  await pruneFolders(driver, tree.folders)
  for (const folder of census.folders) await driver.removeEmpty(folder)
}

/** True for a repository in which nothing is left if all that is condemned goes. */
function isEmpty({ manifests, layers, hasOther }: RepositoryMark): boolean {
  return manifests === 0 && layers === 0 && !hasOther
}

import { setTimeout as sleep } from 'node:timers/promises'
import { mapOrdered } from '../../lib/map-ordered.ts'
import type { RepoName } from '../../lib/names.ts'
import type { StorageDriver } from '../../storage/driver.ts'
import { listRepositories } from '../store-walk.ts'
import { openSweep, type Sweep } from '../sweeps.ts'
import { isSystemRefusal, namingFailures } from '../unreadable.ts'
import { checkBlobs } from './blobs.ts'
import { checkFiles } from './files.ts'
import {
  attemptingLister,
  type CheckContext,
  type CheckCounts,
  type Finding,
  type Problem,
} from './finding.ts'
import { checkRepository } from './repository.ts'

/** What was changed this recently may be a push under way. */
const settledAfterMs = 3_600_000
/** As the purge of uploads has it by default. */
const idleAfterMs = 24 * 3_600_000
/** Repositories looked at together. */
const width = 4
/** Files whose repair is announced together. */
const maxGroup = 200
const busyPollMs = 100

export type CheckOptions = {
  readonly driver: StorageDriver
  /** Mends what can be mended. */
  readonly repair: boolean
  /** Reads every blob again and compares it with its name. */
  readonly rehash: boolean
  readonly signal?: AbortSignal
  readonly onProgress?: (counts: Readonly<CheckCounts>) => void
}

export type CheckedProblem = Problem & { readonly repaired: boolean }

/** What a check found; as JSON. */
export type CheckReport = {
  /** RFC 3339. */
  readonly started: string
  readonly durationMs: number
  readonly repair: boolean
  readonly rehash: boolean
  readonly checked: Readonly<CheckCounts>
  readonly problems: readonly CheckedProblem[]
  /** Problems by kind. */
  readonly kinds: Readonly<Record<string, number>>
  readonly repaired: number
  /** Problems that are still there; stray files are none. */
  readonly remaining: number
}

/**
 * Compares what is stored with what the layout promises, while the registry serves. Repairs look again
 * right before they act, and announce themselves as collections do; they wait for one that has begun
 * meanwhile. Undefined if one is under way at the start, beside which this must not repair.
 */
export async function checkStore(options: CheckOptions): Promise<CheckReport | undefined> {
  if (!options.repair) return await run(options, Date.now())
  const startedAt = await whenIdle(options.driver)
  return startedAt === undefined ? undefined : await run(options, startedAt)
}

/** The time, by the clock that stamps files; undefined while a collection is under way. */
async function whenIdle(driver: StorageDriver): Promise<number | undefined> {
  await using sweep = await openSweep(driver)
  return sweep?.startedAt
}

async function run(options: CheckOptions, startedAt: number): Promise<CheckReport> {
  const { repair, rehash, signal } = options
  const begun = performance.now()
  const counts = { repositories: 0, manifests: 0, tags: 0, layerLinks: 0, blobs: 0, bytes: 0 }
  const driver = namingFailures(options.driver)
  const context: CheckContext = {
    ...{ driver, rehash, counts },
    oldBefore: startedAt - settledAfterMs,
    idleBefore: startedAt - idleAfterMs,
    bad: new Set(),
    unreadable: new Map(),
    onProgress: options.onProgress ?? (() => {}),
  }
  const problems: CheckedProblem[] = []
  for await (const findings of checkAll(context)) {
    signal?.throwIfAborted()
    const mended = repair ? await mendAll(context, findings, signal) : new Set<Finding>()
    for (const finding of findings)
      problems.push({ ...finding.problem, repaired: mended.has(finding) })
  }
  for (const [path, detail] of context.unreadable)
    problems.push({ kind: 'unreadable', path, detail, repaired: false })
  return {
    started: new Date(startedAt).toISOString(),
    durationMs: Math.round(performance.now() - begun),
    ...{ repair, rehash, checked: counts, problems },
    ...summarize(problems),
  }
}

/**
 * What is found, in groups that are mended before long: what was seen hours ago says little. Blobs first:
 * what leads to one that cannot be used leads nowhere.
 */
async function* checkAll(context: CheckContext): AsyncGenerator<readonly Finding[]> {
  yield* checkBlobs(context)
  const { repositories, strangers } = await listRepositories(attemptingLister(context))
  const check = (name: RepoName) => checkRepository(context, name)
  yield* mapOrdered(repositories, width, check)
  const detail = 'no name that a repository can have; left alone'
  yield strangers.map((path) => ({ problem: { kind: 'stray', path, detail } }))
  yield* inGroups(checkFiles(context))
}

async function* inGroups(findings: AsyncIterable<Finding>): AsyncGenerator<readonly Finding[]> {
  let group: Finding[] = []
  for await (const finding of findings) {
    if (group.push(finding) < maxGroup) continue
    yield group
    group = []
  }
  yield group
}

/** Mends what can be mended and tells what was. */
async function mendAll(
  { driver }: CheckContext,
  findings: readonly Finding[],
  signal: AbortSignal | undefined,
): Promise<ReadonlySet<Finding>> {
  const mended = new Set<Finding>()
  const announced = new Set(findings.flatMap(({ remedy }) => remedy?.announced ?? []))
  if (!findings.some(({ remedy }) => remedy !== undefined)) return mended
  await using sweep = await awaitSweep(driver, signal)
  await sweep.announce(announced)
  for (const finding of findings) {
    if (sweep.isHeard() && (await isMended(finding))) mended.add(finding)
  }
  return mended
}

/** Opens a sweep when the collection that is under way has ended. */
async function awaitSweep(driver: StorageDriver, signal: AbortSignal | undefined): Promise<Sweep> {
  for (;;) {
    signal?.throwIfAborted()
    const sweep = await openSweep(driver)
    if (sweep !== undefined) return sweep
    await sleep(busyPollMs)
  }
}

/** What the system refuses to mend stays; the rest can still be. */
async function isMended({ remedy }: Finding): Promise<boolean> {
  try {
    return (await remedy?.mend()) ?? false
  } catch (error) {
    if (!isSystemRefusal(error)) throw error
    return false
  }
}

function summarize(
  problems: readonly CheckedProblem[],
): Pick<CheckReport, 'kinds' | 'repaired' | 'remaining'> {
  const kinds: Record<string, number> = {}
  for (const { kind } of problems) kinds[kind] = (kinds[kind] ?? 0) + 1
  return {
    kinds,
    repaired: problems.filter(({ repaired }) => repaired).length,
    remaining: problems.filter(({ kind, repaired }) => !repaired && kind !== 'stray').length,
  }
}

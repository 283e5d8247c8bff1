import { mapOrdered } from '../lib/map-ordered.ts'
import type { RepoName } from '../lib/names.ts'
import type { StorageDriver } from '../storage/driver.ts'
import { checkBlobs } from './check-blobs.ts'
import { checkFiles } from './check-files.ts'
import type { CheckContext, CheckCounts, Finding, Problem } from './check-finding.ts'
import { checkRepository } from './check-repository.ts'
import { listRepositories } from './store-walk.ts'
import { openSweep, type Sweep } from './sweeps.ts'

/** What was changed this recently may be a push under way. */
const settledAfterMs = 3_600_000
/** As the purge of uploads has it by default. */
const idleAfterMs = 24 * 3_600_000
/** Repositories looked at together. */
const width = 4
/** Repairs announced together. */
const maxBatch = 200

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
 * right before they act, and announce themselves as collections do.
 * Undefined if a collection is under way beside which it must not repair.
 */
export async function checkStore(options: CheckOptions): Promise<CheckReport | undefined> {
  if (!options.repair) return await run(options, undefined)
  await using sweep = await openSweep(options.driver)
  return sweep && (await run(options, sweep))
}

async function run(options: CheckOptions, sweep: Sweep | undefined): Promise<CheckReport> {
  const { driver, repair, rehash } = options
  const begun = performance.now()
  const startedAt = sweep?.startedAt ?? Date.now()
  const counts = { repositories: 0, manifests: 0, tags: 0, layerLinks: 0, blobs: 0, bytes: 0 }
  const context: CheckContext = {
    ...{ driver, rehash, counts },
    oldBefore: startedAt - settledAfterMs,
    idleBefore: startedAt - idleAfterMs,
    bad: new Set(),
    onProgress: options.onProgress ?? (() => {}),
  }
  const problems: CheckedProblem[] = []
  let waiting: Finding[] = []
  const mend = async (): Promise<void> => {
    if (sweep !== undefined) problems.push(...(await mendAll(sweep, waiting)))
    waiting = []
  }
  for await (const finding of checkAll(context)) {
    options.signal?.throwIfAborted()
    if (sweep === undefined || finding.remedy === undefined)
      problems.push({ ...finding.problem, repaired: false })
    else if (waiting.push(finding) >= maxBatch) await mend()
  }
  await mend()
  return {
    started: new Date(startedAt).toISOString(),
    durationMs: Math.round(performance.now() - begun),
    ...{ repair, rehash, checked: counts, problems },
    ...summarize(problems),
  }
}

/** Blobs first: what leads to one that cannot be used leads nowhere. */
async function* checkAll(context: CheckContext): AsyncGenerator<Finding> {
  yield* checkBlobs(context)
  const { repositories, strangers } = await listRepositories(context.driver)
  const check = (name: RepoName) => Array.fromAsync(checkRepository(context, name))
  for await (const findings of mapOrdered(repositories, width, check)) yield* findings
  const detail = 'no name that a repository can have; left alone'
  for (const path of strangers) yield { problem: { kind: 'stray', path, detail } }
  yield* checkFiles(context)
}

async function mendAll(sweep: Sweep, findings: readonly Finding[]): Promise<CheckedProblem[]> {
  await sweep.announce(new Set(findings.flatMap(({ remedy }) => remedy?.announced ?? [])))
  const problems: CheckedProblem[] = []
  for (const { problem, remedy } of findings) {
    const repaired = sweep.isHeard() && ((await remedy?.mend()) ?? false)
    problems.push({ ...problem, repaired })
  }
  await sweep.announce([])
  return problems
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

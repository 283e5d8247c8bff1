import { spawnSync } from 'node:child_process'
import { availableParallelism } from 'node:os'
import type { Sample, Scale } from './case.ts'
import { type Measured, type Outcome, outcomesOf } from './report.ts'
import { mediansOf } from './rounds.ts'

/** All that a run found, as docs/performance/bench.json has it. */
export type BenchRecord = {
  /** Day of the run, ISO 8601. */
  readonly date: string
  /** Cores that load generator, front and backend shared. */
  readonly cores: number
  /** Version of each program, Node's included. */
  readonly versions: Readonly<Record<string, string>>
  readonly scale: Scale
  readonly goals: readonly Outcome[]
  readonly cases: readonly CaseRecord[]
}

type CaseRecord = {
  readonly name: string
  readonly title: string
  readonly fronts: Readonly<
    Record<string, { readonly median: Sample; readonly rounds: readonly Sample[] }>
  >
}

/** The record of a run that ended now. */
export function recordOf(measured: readonly Measured[], scale: Scale): BenchRecord {
  const programs = new Set(measured.flatMap(({ case: { programs } }) => programs))
  return {
    date: new Date().toISOString().slice(0, 10),
    cores: availableParallelism(),
    versions: {
      node: process.versions.node,
      ...Object.fromEntries([...programs].sort().map((program) => [program, versionOf(program)])),
    },
    scale,
    goals: outcomesOf(measured),
    cases: measured.map(({ case: { name, title }, results }) => ({
      name,
      title,
      fronts: Object.fromEntries(
        Object.entries(results).map(([front, rounds]) => [
          front,
          { median: mediansOf(rounds), rounds },
        ]),
      ),
    })),
  }
}

/** `record` as JSON, without digits that mean nothing. */
export function formatRecord(record: BenchRecord): string {
  const round = (_: string, value: unknown): unknown =>
    typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(5)) : value
  return `${JSON.stringify(record, round, 2)}\n`
}

/** How each program is asked for its version, where it is not `--version`. */
const versionFlags: Readonly<Record<string, string>> = {
  nginx: '-v',
  haproxy: '-v',
  wrk: '-v',
  ab: '-V',
  caddy: 'version',
}

/** The first version number that a program prints about itself. */
function versionOf(program: string): string {
  const env = { PATH: `${process.env['PATH']}:/usr/sbin:/sbin` }
  const answer = spawnSync(program, [versionFlags[program] ?? '--version'], { env })
  return /\d+\.\d+[\w.]*/.exec(`${answer.stdout}${answer.stderr}`)?.[0] ?? 'unknown'
}

import { parseArgs } from 'node:util'
import { isInstalled } from '../../test/support/installed.ts'
import type { Case, Scale } from './case.ts'

export type Options = {
  readonly cases: readonly Case[]
  readonly scale: Scale
  readonly isSmoke: boolean
  /** Whether docs/performance.md and its files are written. */
  readonly isWritten: boolean
  /** File that gets the JSON as well. */
  readonly json: string | undefined
}

/** What is wrong with the command line or the machine, in one line. */
export class UsageError extends Error {}

const mebibyte = 1024 ** 2

const full: Scale = {
  ...{ rounds: 5, bytes: 1024 * mebibyte, blobBytes: 256 * mebibyte, layerBytes: 10240 * mebibyte },
  warmUpBytes: 6144 * mebibyte,
  ...{ seconds: 4, names: 10_000, idleConnections: 2000, stalledConnections: 200 },
}

const smoke: Scale = {
  ...{ rounds: 1, bytes: 16 * mebibyte, blobBytes: 4 * mebibyte, layerBytes: 16 * mebibyte },
  warmUpBytes: 16 * mebibyte,
  ...{ seconds: 2, names: 200, idleConnections: 50, stalledConnections: 10 },
}

/** Text of `--help`. */
export function helpOf(all: readonly Case[]): string {
  const list = all.map(({ name, title }) => `  ${name.padEnd(20)} ${title}`).join('\n')
  return `npm run bench -- [options]

  --case NAME    only this case; may be repeated
  --rounds N     rounds of each case (default ${full.rounds})
  --size N       MiB of a streamed body (default ${full.bytes / mebibyte})
  --smoke        one tiny round: shows that it works, measures nothing
  --write        write docs/performance (default without any option)
  --json FILE    write the figures there, too
  --help         this

Cases:
${list}`
}

/** The options of a command line; undefined asks for help. @throws UsageError */
export function parseOptions(args: readonly string[], all: readonly Case[]): Options | undefined {
  const values = parseValues(args)
  if (values.help) return undefined
  const base = values.smoke ? smoke : full
  const names = values.case ?? []
  const unknown = names.find((name) => all.every((one) => one.name !== name))
  if (unknown !== undefined) {
    const known = all.map(({ name }) => name).join(', ')
    throw new UsageError(`no case is called ${unknown}; there are ${known}`)
  }
  return {
    cases: names.length === 0 ? all : all.filter(({ name }) => names.includes(name)),
    scale: {
      ...base,
      rounds: parseCount('--rounds', values.rounds, base.rounds),
      bytes: parseCount('--size', values.size, base.bytes / mebibyte) * mebibyte,
    },
    isSmoke: values.smoke ?? false,
    isWritten: values.write ?? Object.keys(values).length === 0,
    json: values.json,
  }
}

function parseValues(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        case: { type: 'string', multiple: true },
        rounds: { type: 'string' },
        size: { type: 'string' },
        smoke: { type: 'boolean' },
        write: { type: 'boolean' },
        json: { type: 'string' },
        help: { type: 'boolean' },
      },
    }).values
  } catch (cause) {
    throw new UsageError(cause instanceof Error ? cause.message : String(cause), { cause })
  }
}

function parseCount(name: string, value: string | undefined, fallback: number): number {
  if (value === undefined) return fallback
  const count = Number(value)
  if (Number.isSafeInteger(count) && count > 0) return count
  throw new UsageError(`${name} ${value}: expected a whole number above 0`)
}

/** Checks that the programs of these cases are there. @throws UsageError that names the missing ones */
export function requirePrograms(chosen: readonly Case[]): void {
  const programs = new Set(['setpriv', ...chosen.flatMap((one) => one.programs)])
  const missing = [...programs].filter((program) => !isInstalled(program))
  if (missing.length === 0) return
  throw new UsageError(`not installed: ${missing.join(', ')}; sudo npm run peers installs them`)
}

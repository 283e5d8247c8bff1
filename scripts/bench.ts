// Compares Tidegate with other fronts and registries on this machine: `npm run bench -- --help`. A
// measurement, not a test: a row that is not reached fails nothing.
import { writeFileSync } from 'node:fs'
import type { Case } from './bench/case.ts'
import { cases } from './bench/cases.ts'
import { writeDocuments } from './bench/document.ts'
import { holdFreeMemory } from './bench/free-memory.ts'
import { helpOf, type Options, parseOptions, requirePrograms, UsageError } from './bench/options.ts'
import { formatRecord, recordOf } from './bench/record.ts'
import { formatMedians, formatOutcomes, type Measured } from './bench/report.ts'
import { createAlternation } from './bench/rounds.ts'
import { openWorkspace } from './bench/workspace.ts'

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  // `exit` listeners end what was started.
  process.once(signal, () => process.exit(130))
}

try {
  const options = parseOptions(process.argv.slice(2), cases)
  if (options === undefined) console.log(helpOf(cases))
  else await bench(options)
} catch (error) {
  if (!(error instanceof UsageError)) throw error
  console.error(`bench: ${error.message}`)
  process.exitCode = 2
}

async function bench(options: Options): Promise<void> {
  requirePrograms(options.cases)
  using _held = options.isSmoke ? undefined : await holdFreeMemory()
  const measured: Measured[] = []
  for (const one of options.cases) measured.push(await measure(one, options))
  const record = recordOf(measured, options.scale)
  if (record.goals.length > 0) console.log(`\n${formatOutcomes(record.goals)}`)
  if (options.isWritten) writeDocuments(record, measured)
  if (options.json !== undefined) writeFileSync(options.json, formatRecord(record))
}

/** Each case has a workspace of its own, so that no server of one stands beside the next. */
async function measure(one: Case, { scale }: Options): Promise<Measured> {
  console.log(`\n${one.name}: ${one.title}`)
  using workspace = openWorkspace()
  const alternate = createAlternation(scale.rounds)
  const measured = { case: one, results: await one.run({ workspace, scale, alternate }) }
  console.log(`\n${formatMedians(measured)}`)
  return measured
}

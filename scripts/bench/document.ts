import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { drawChart } from './chart.ts'
import { type BenchRecord, formatRecord } from './record.ts'
import { formatMedians, formatOutcomes, type Measured } from './report.ts'

const docs = join(import.meta.dirname, '../../docs')
const begin = '<!-- bench:begin -->'
const end = '<!-- bench:end -->'

/** Writes the JSON and the chart to docs/performance, and the tables into docs/performance.md. */
export function writeDocuments(record: BenchRecord, measured: readonly Measured[]): void {
  mkdirSync(join(docs, 'performance'), { recursive: true })
  writeFileSync(join(docs, 'performance/bench.json'), formatRecord(record))
  writeFileSync(join(docs, 'performance/ratios.svg'), drawChart(record.goals))
  const page = join(docs, 'performance.md')
  writeFileSync(page, withTables(readFileSync(page, 'utf8'), tablesOf(record, measured)))
}

/** `page` with `tables` between its two markers. @throws Error when it lacks them */
function withTables(page: string, tables: string): string {
  const [from, to] = [page.indexOf(begin), page.indexOf(end)]
  if (from < 0 || to < from) throw new Error(`docs/performance.md has no ${begin} … ${end}`)
  return `${page.slice(0, from + begin.length)}\n${tables}\n${page.slice(to)}`
}

function tablesOf(record: BenchRecord, measured: readonly Measured[]): string {
  const versions = Object.entries(record.versions).map((pair) => pair.join(' '))
  const { rounds } = record.scale
  const cases = measured.flatMap((one) => [
    `### ${one.case.title} (\`${one.case.name}\`)`,
    formatMedians(one),
  ])
  return [
    `${record.date}, ${record.cores} cores, rounds of each case: ${rounds}; ${versions.join(', ')}.`,
    '![Each ratio beside its target](performance/ratios.svg)',
    formatOutcomes(record.goals),
    '## Medians',
    ...cases,
  ].join('\n\n')
}

import type { Case, Goal, Results } from './case.ts'
import { formatNumber, formatTable } from './format.ts'
import { mediansOf, ratioOf } from './rounds.ts'

export type Measured = { readonly case: Case; readonly results: Results }

/** A goal and what came of it. */
export type Outcome = Goal & {
  readonly case: string
  /** The ratio of the two fronts, or the figure itself. */
  readonly measured: number
  readonly isReached: boolean
}

/** What came of every goal of the cases that ran. */
export function outcomesOf(measured: readonly Measured[]): Outcome[] {
  return measured.flatMap(({ case: { name, goals }, results }) =>
    goals.map((goal) => {
      const { figure, of, than, better, target } = goal
      const value =
        than === undefined
          ? (mediansOf(results[of] ?? [])[figure] ?? Number.NaN)
          : ratioOf(results, { figure, of, than })
      const isReached = better === 'higher' ? value >= target : value <= target
      return { ...goal, case: name, measured: value, isReached }
    }),
  )
}

/** The table of goals. */
export function formatOutcomes(outcomes: readonly Outcome[]): string {
  return formatTable([
    ['figure', 'target', 'measured', 'reached'],
    ...outcomes.map((outcome) => [
      outcome.what,
      `${outcome.better === 'higher' ? '≥' : '≤'} ${formatValue(outcome, outcome.target)}`,
      formatValue(outcome, outcome.measured),
      outcome.isReached ? 'yes' : '**no**',
    ]),
  ])
}

/** A ratio as `1.23×`, a figure with its unit. */
function formatValue({ than, figure }: Goal, value: number): string {
  return than === undefined ? `${formatNumber(value)} ${figure}` : `${formatNumber(value)}×`
}

/** The medians of each front of a case. */
export function formatMedians({ results }: Measured): string {
  const medians = Object.entries(results).map(([front, samples]) => ({
    front,
    figures: mediansOf(samples),
  }))
  const names = [...new Set(medians.flatMap(({ figures }) => Object.keys(figures)))]
  return formatTable([
    ['', ...names],
    ...medians.map(({ front, figures }) => [
      front,
      ...names.map((name) => (figures[name] === undefined ? '' : formatNumber(figures[name]))),
    ]),
  ])
}

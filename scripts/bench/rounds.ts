import type { Bench, Results, Sample } from './case.ts'
import { formatFigures } from './format.ts'

/**
 * Returns `alternate` for that many rounds, each of which begins with another front, and every other of
 * which goes backwards, so that none always follows the same. Before the first, each is asked `warmUps`
 * times without being measured: compilers warm up, and the first login is hashed.
 */
export function createAlternation(rounds: number): Bench['alternate'] {
  return async (fronts, measure, warmUps = 1) => {
    const samples = new Map<string, Sample[]>(fronts.map(({ name }) => [name, []]))
    const take = async (front: (typeof fronts)[number]): Promise<Sample> =>
      await measure(front).catch((cause) => {
        throw new Error(`${front.name}: no measurement`, { cause })
      })
    for (let pass = 0; pass < warmUps; pass += 1) for (const front of fronts) await take(front)
    for (let round = 0; round < rounds; round += 1) {
      const first = round % fronts.length
      const turned = [...fronts.slice(first), ...fronts.slice(0, first)]
      for (const front of round % 2 === 0 ? turned : turned.reverse()) {
        const sample = await take(front)
        samples.get(front.name)?.push(sample)
        console.log(`  round ${round + 1}: ${front.name}: ${formatFigures(sample)}`)
      }
    }
    return Object.fromEntries(samples)
  }
}

/** The median of each figure of one front. */
export function mediansOf(samples: readonly Sample[]): Sample {
  const figures = Object.keys(samples[0] ?? {})
  return Object.fromEntries(
    figures.map((figure) => [
      figure,
      median(samples.map((sample) => sample[figure] ?? Number.NaN)),
    ]),
  )
}

/**
 * The median of one front's figure divided by another's in the same round: what the machine does
 * to both at a time cancels out.
 */
export function ratioOf(
  results: Results,
  { figure, of, than }: { readonly figure: string; readonly of: string; readonly than: string },
): number {
  const divisors = results[than] ?? []
  const ratios = (results[of] ?? []).map(
    (sample, round) => (sample[figure] ?? Number.NaN) / (divisors[round]?.[figure] ?? Number.NaN),
  )
  return median(ratios)
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = (sorted.length - 1) / 2
  const below = sorted[Math.floor(middle)] ?? Number.NaN
  const above = sorted[Math.ceil(middle)] ?? Number.NaN
  return (below + above) / 2
}

/** A metric with its values, in the shape that prom-client exchanges between processes. */
export type MetricFamily = {
  readonly name: string
  readonly help: string
  readonly type: 'counter' | 'gauge' | 'histogram'
  /** How the values of several processes become one. */
  readonly aggregator: 'sum'
  readonly values: readonly MetricSample[]
}

export type MetricSample = {
  readonly value: number
  readonly labels: Readonly<Record<string, string>>
  /** Where it is not the family's: the `_bucket`, `_sum` and `_count` of a histogram. */
  readonly metricName?: string
}

type Named = Pick<MetricFamily, 'name' | 'help'>

/** A number that only grows; `samples` is one without labels, or one for each set of them. */
export function counter(named: Named, samples: number | readonly MetricSample[]): MetricFamily {
  const values = typeof samples === 'number' ? [{ value: samples, labels: {} }] : samples
  return { ...named, type: 'counter', aggregator: 'sum', values }
}

/** A number that comes and goes. */
export function gauge(named: Named, value: number): MetricFamily {
  return { ...named, type: 'gauge', aggregator: 'sum', values: [{ value, labels: {} }] }
}

export type Distribution = {
  readonly labels: Readonly<Record<string, string>>
  /** How many were within each bound and beyond the one before; one more for those beyond all. */
  readonly counts: readonly number[]
  readonly sum: number
}

/** How many observations were within each of the `bounds`, for each set of labels. */
export function histogram(
  named: Named,
  bounds: readonly number[],
  distributions: readonly Distribution[],
): MetricFamily {
  const values = distributions.flatMap(({ labels, counts, sum }): MetricSample[] => {
    let total = 0
    const buckets = counts.map((count, at): MetricSample => {
      total += count
      const le = String(bounds[at] ?? '+Inf')
      return { metricName: `${named.name}_bucket`, labels: { ...labels, le }, value: total }
    })
    return [
      ...buckets,
      { metricName: `${named.name}_sum`, labels, value: sum },
      { metricName: `${named.name}_count`, labels, value: total },
    ]
  })
  return { ...named, type: 'histogram', aggregator: 'sum', values }
}

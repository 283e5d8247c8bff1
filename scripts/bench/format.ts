import type { Sample } from './case.ts'

const digits = new Intl.NumberFormat('en-US', { maximumSignificantDigits: 3 })
const whole = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 })

/** Three significant digits, and every digit before the point: `0.874`, `12.3`, `1,445`. */
export function formatNumber(value: number): string {
  return (Math.abs(value) >= 100 ? whole : digits).format(value)
}

/** `812 MB/s, 1.31 CPU s/GiB` */
export function formatFigures(sample: Sample): string {
  return Object.entries(sample)
    .map(([figure, value]) => `${formatNumber(value)} ${figure}`)
    .join(', ')
}

/** A Markdown table; the first row is its head. */
export function formatTable([head = [], ...rows]: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  return [line(head), `|${'---|'.repeat(head.length)}`, ...rows.map(line)].join('\n')
}

const MS_PER_UNIT = new Map([
  ['ns', 1e-6],
  ['us', 1e-3],
  ['µs', 1e-3],
  ['ms', 1],
  ['s', 1_000],
  ['m', 60_000],
  ['h', 3_600_000],
  ['d', 86_400_000],
])

const BYTES_PER_UNIT = new Map([
  ['b', 1],
  ['kb', 1e3],
  ['mb', 1e6],
  ['gb', 1e9],
  ['tb', 1e12],
  ['kib', 2 ** 10],
  ['mib', 2 ** 20],
  ['gib', 2 ** 30],
  ['tib', 2 ** 40],
])

/**
 * Milliseconds of a Go duration (`10m`, `1h30m`, `500ms`), plus `d` for 24 hours; parts of a
 * millisecond are rounded up, so that a positive duration is never 0.
 * @throws RangeError with a message for the operator, without the value
 */
export function parseDuration(text: string): number {
  if (/^[+]?0+$/.test(text)) return 0
  if (/^[+-]?\d+(\.\d+)?$/.test(text)) {
    throw new RangeError('a duration needs a unit, as in 30s, 10m or 1h30m')
  }
  if (!/^(\d+(\.\d+)?(ns|us|µs|ms|s|m|h|d))+$/.test(text)) {
    throw new RangeError('expected a duration such as 500ms, 30s, 10m, 1h30m or 20d')
  }
  let ms = 0
  for (const [, amount, unit = ''] of text.matchAll(/(\d+(?:\.\d+)?)([a-zµ]+)/g)) {
    ms += Number(amount) * (MS_PER_UNIT.get(unit) ?? 0)
  }
  // The inner rounding, to a nanosecond, keeps binary fractions such as 2.3s from gaining a millisecond.
  const rounded = Number.isInteger(ms) ? ms : Math.ceil(Math.round(ms * 1e6) / 1e6)
  if (!Number.isSafeInteger(rounded)) throw new RangeError('the duration is too long')
  return rounded
}

/** A duration that `parseDuration` reads back as exactly `ms` whole milliseconds, e.g. `1h30m`. */
export function formatDuration(ms: number): string {
  if (ms === 0) return '0s'
  let rest = ms
  let text = ''
  for (const unit of ['d', 'h', 'm', 's', 'ms']) {
    const size = MS_PER_UNIT.get(unit) ?? 1
    const count = Math.floor(rest / size)
    if (count > 0) text += `${count}${unit}`
    rest -= count * size
  }
  return text
}

/**
 * Bytes of a size: plain bytes, decimal units (`512MB`) or binary units (`10GiB`).
 * @throws RangeError with a message for the operator, without the value
 */
export function parseSize(text: string): number {
  const [, amount, unit = 'b'] = /^(\d+(?:\.\d+)?) ?([a-z]+)?$/i.exec(text) ?? []
  const factor = BYTES_PER_UNIT.get(unit.toLowerCase())
  if (amount === undefined || factor === undefined) {
    throw new RangeError('expected a size such as 10GiB, 512MB or a number of bytes')
  }
  const bytes = Math.round(Number(amount) * factor)
  if (!Number.isSafeInteger(bytes)) throw new RangeError('the size is too large')
  return bytes
}

/** A size that `parseSize` reads back as exactly `bytes`, in the largest unit that divides it. */
export function formatSize(bytes: number): string {
  for (const unit of ['TiB', 'TB', 'GiB', 'GB', 'MiB', 'MB', 'KiB', 'KB']) {
    const factor = BYTES_PER_UNIT.get(unit.toLowerCase()) ?? 1
    if (bytes > 0 && bytes % factor === 0) return `${bytes / factor}${unit}`
  }
  return `${bytes}B`
}

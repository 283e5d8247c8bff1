import test from 'ava'
import fc from 'fast-check'
import { formatDuration, formatSize, parseDuration, parseSize } from '../../../src/lib/units.ts'

for (const text of [
  '',
  ' ',
  '10',
  '1.5',
  '-1s',
  '10 m',
  'm',
  '1h-5m',
  '5x',
  '1H',
  '1e3s',
  `${'9'.repeat(30)}d`,
]) {
  test(`durations: ${JSON.stringify(text.slice(0, 9))} is refused`, (t) => {
    t.throws(() => parseDuration(text), { instanceOf: RangeError })
  })
}

test('durations: a number without a unit is told to have one', (t) => {
  t.throws(() => parseDuration('600000000000'), { message: /needs a unit/ })
})

for (const [text, ms] of [
  ['0', 0],
  ['0s', 0],
  ['500ms', 500],
  ['1h30m', 5_400_000],
  ['20d', 1_728_000_000],
  ['1.1s', 1100],
  ['1.5h', 5_400_000],
  ['100us', 1],
  ['1ns', 1],
  ['2m30s5ms', 150_005],
] as const) {
  test(`durations: ${text} is ${ms} ms`, (t) => {
    t.is(parseDuration(text), ms)
  })
}

test('durations: what is formatted parses to the same milliseconds', (t) => {
  fc.assert(
    fc.property(fc.nat({ max: Number.MAX_SAFE_INTEGER }), (ms) => {
      t.is(parseDuration(formatDuration(ms)), ms)
    }),
  )
  t.is(formatDuration(5_400_000), '1h30m')
})

test('durations: any text either parses to whole milliseconds or is a RangeError', (t) => {
  const text = fc.oneof(fc.string(), fc.stringMatching(/^[0-9.smhdnuµ-]{0,12}$/))
  fc.assert(
    fc.property(text, (input) => {
      try {
        const ms = parseDuration(input)
        t.true(Number.isSafeInteger(ms) && ms >= 0)
      } catch (error) {
        t.true(error instanceof RangeError)
      }
    }),
  )
})

for (const text of ['', 'GiB', '-1', '1G', '10 XB', '1  GiB', '0x10', '99999999TiB']) {
  test(`sizes: ${JSON.stringify(text)} is refused`, (t) => {
    t.throws(() => parseSize(text), { instanceOf: RangeError })
  })
}

for (const [text, bytes] of [
  ['0', 0],
  ['1048576', 1_048_576],
  ['512MB', 512_000_000],
  ['10GiB', 10 * 2 ** 30],
  ['10 gib', 10 * 2 ** 30],
  ['1.5KiB', 1536],
] as const) {
  test(`sizes: ${text} is ${bytes} bytes`, (t) => {
    t.is(parseSize(text), bytes)
  })
}

test('sizes: what is formatted parses to the same bytes, in the largest exact unit', (t) => {
  const bytes = fc.oneof(
    fc.nat({ max: Number.MAX_SAFE_INTEGER }),
    fc.nat({ max: 4095 }).map((count) => count * 2 ** 30),
  )
  fc.assert(
    fc.property(bytes, (size) => {
      t.is(parseSize(formatSize(size)), size)
    }),
  )
  t.is(formatSize(10 * 2 ** 30), '10GiB')
  t.is(formatSize(512_000_000), '512MB')
})

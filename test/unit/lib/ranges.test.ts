import test from 'ava'
import fc from 'fast-check'
import { parseByteRange, parseContentRange } from '../../../src/lib/ranges.ts'

for (const [value, size] of [
  ['bytes=10-', 10],
  ['bytes=10-20', 10],
  ['bytes=500-0', 1000],
  ['bytes=-0', 10],
  [`bytes=${'9'.repeat(40)}-`, 10],
] as const) {
  test(`ranges: ${value.slice(0, 20)} of ${size} bytes cannot be satisfied`, (t) => {
    t.is(parseByteRange(value, size), 'unsatisfiable')
  })
}

for (const value of [
  undefined,
  '',
  'bytes',
  'bytes=',
  'bytes=-',
  'bytes=a-b',
  'bytes=1',
  'bytes=0x1-2',
  'bytes=+1-2',
  'bytes=1.5-2',
  'bytes 0-1',
  'bytes=0-1,3-4',
  'bytes=0-1, ',
  'lines=0-1',
  'bytes=0-1\n',
]) {
  test(`ranges: ${JSON.stringify(value)} asks for nothing but the whole`, (t) => {
    t.is(parseByteRange(value, 10), undefined)
  })
}

test('ranges: nothing of an empty representation is a range, so it is sent whole', (t) => {
  for (const value of ['bytes=0-', 'bytes=0-0', 'bytes=-5', 'bytes=7-9'])
    t.is(parseByteRange(value, 0), undefined, value)
})

test('ranges: what is asked for beyond the end is cut to what is there', (t) => {
  t.deepEqual(parseByteRange('bytes=2-5', 10), { first: 2, last: 5 })
  t.deepEqual(parseByteRange('Bytes= 2-5 ', 10), { first: 2, last: 5 })
  t.deepEqual(parseByteRange('bytes=2-', 10), { first: 2, last: 9 })
  t.deepEqual(parseByteRange(`bytes=2-${'9'.repeat(40)}`, 10), { first: 2, last: 9 })
  t.deepEqual(parseByteRange('bytes=-3', 10), { first: 7, last: 9 })
  t.deepEqual(parseByteRange(`bytes=-${'9'.repeat(400)}`, 10), { first: 0, last: 9 })
})

test('ranges: a range selects what picking single bytes by their position would', (t) => {
  const position = fc.option(fc.nat(30), { nil: undefined })
  fc.assert(
    fc.property(position, position, fc.integer({ min: 1, max: 20 }), (first, last, size) => {
      const all = Array.from({ length: size }, (_, at) => at)
      const picked =
        first === undefined
          ? all.filter((at) => at >= size - (last ?? 0))
          : all.filter((at) => at >= first && at <= (last ?? size))
      const range = parseByteRange(`bytes=${first ?? ''}-${last ?? ''}`, size)
      if (first === undefined && last === undefined) t.is(range, undefined)
      else if (typeof range === 'object')
        t.deepEqual(all.slice(range.first, range.last + 1), picked)
      else t.deepEqual([range, picked], ['unsatisfiable', []])
    }),
  )
})

test('ranges: whatever a header says, a range lies within the representation', (t) => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.stringMatching(/^bytes=[-0-9,]*$/)), (value) => {
      const range = parseByteRange(value, 100)
      if (typeof range !== 'object') t.pass()
      else t.true(range.first >= 0 && range.first <= range.last && range.last < 100, value)
    }),
  )
})

for (const value of [
  '',
  '-',
  '1-',
  '-1',
  '5-4',
  'a-b',
  'bytes */10',
  'lines 0-1',
  '0-1, 2-3',
  '0-1/x',
  '0.0-1',
  `0-${Number.MAX_SAFE_INTEGER + 1}`,
]) {
  test(`ranges: ${JSON.stringify(value)} is no place for a chunk`, (t) => {
    t.is(parseContentRange(value), undefined)
  })
}

test('ranges: the place of a chunk is understood with and without a unit and a total', (t) => {
  for (const value of ['3-7', ' 3-7 ', 'bytes 3-7/*', 'bytes 3-7/100', 'bytes=3-7', 'bytes 3-7'])
    t.deepEqual(parseContentRange(value), { first: 3, last: 7 }, value)
})

import test from 'ava'
import {
  giveLargeBuffer,
  largeBufferBytes,
  takeLargeBuffer,
} from '../../../src/lib/large-buffers.ts'

test('large buffers: a body of few bytes gets as much as it needs, and never nothing', (t) => {
  for (const [expected, length] of [
    [0, 1],
    [1, 1],
    [300, 300],
    [256 * 1024, 256 * 1024],
    [256 * 1024 + 1, largeBufferBytes],
    [undefined, largeBufferBytes],
  ] as const) {
    const buffer = takeLargeBuffer(expected)
    t.is(buffer.length, length, String(expected))
    giveLargeBuffer(buffer)
  }
})

test('large buffers: one that was given back is used again, and who comes when all are in use gets less', (t) => {
  const first = takeLargeBuffer()
  giveLargeBuffer(first)
  const taken = Array.from({ length: 33 }, () => takeLargeBuffer())
  t.is(taken[0], first)
  t.is(taken.map(({ length }) => length).lastIndexOf(largeBufferBytes), 31)
  t.true((taken[32]?.length ?? 0) < largeBufferBytes)
  for (const buffer of taken) giveLargeBuffer(buffer)
  t.is(takeLargeBuffer().length, largeBufferBytes)
})

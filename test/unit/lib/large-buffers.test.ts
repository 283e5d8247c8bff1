import test from 'ava'
import {
  giveLargeBuffer,
  largeBufferBytes,
  takeLargeBuffer,
} from '../../../src/lib/large-buffers.ts'

test('large buffers: who comes when many are in use gets a small one, until some are back', (t) => {
  const taken = Array.from({ length: 40 }, takeLargeBuffer)
  const large = taken.filter(({ length }) => length === largeBufferBytes)
  t.is(large.length, 32)
  t.is(new Set(taken.map(({ buffer }) => buffer)).size, 40)
  for (const buffer of taken) giveLargeBuffer(buffer)
  const again = Array.from({ length: 33 }, takeLargeBuffer)
  t.is(again.filter(({ length }) => length === largeBufferBytes).length, 32)
  // What was given back is used again, as far as it was kept.
  t.is(again.filter((buffer) => large.includes(buffer)).length, 8)
})

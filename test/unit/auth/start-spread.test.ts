import test from 'ava'
import { createStartSpread } from '../../../src/auth/start-spread.ts'

test('starts keep their distance, a part of what the last one lasted, unless nothing runs', (t) => {
  let now = 1000
  const spread = createStartSpread({ size: 2, now: () => now })
  spread.started()
  t.is(spread.earlyMs(1), 25, 'half of what is assumed')
  spread.lasted(100)
  t.is(spread.earlyMs(1), 50)
  now += 20
  t.is(spread.earlyMs(1), 30)
  t.is(spread.earlyMs(0), 0)
  now += 100
  t.is(spread.earlyMs(1), 0)
})

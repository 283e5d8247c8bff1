import test from 'ava'
import { createBackoff } from '../../../src/workers/backoff.ts'

test('backoff: the first to die is replaced at once, later ones ever later, up to five seconds', (t) => {
  const backoff = createBackoff()
  const waits = Array.from({ length: 9 }, () => backoff.next(10))
  t.deepEqual(waits, [0, 100, 200, 400, 800, 1600, 3200, 5000, 5000])
})

test('backoff: one that lived for a minute did not die of its start', (t) => {
  const backoff = createBackoff()
  for (let deaths = 0; deaths < 5; deaths += 1) backoff.next(59_999)
  t.is(backoff.next(60_000), 0)
  t.is(backoff.next(0), 100)
})

import test from 'ava'
import { createIdleTimer } from '../../../src/lib/idle-timer.ts'
import { until } from '../relay/support.ts'

/** Lets `ms` of the clock pass by looking at it, so that the event loop turns all the while. */
async function pass(ms: number, onTurn: () => void = () => {}): Promise<void> {
  const end = performance.now() + ms
  await until(() => {
    onTurn()
    return performance.now() > end
  })
}

test('idle timer: it calls once when nothing moves', async (t) => {
  let calls = 0
  createIdleTimer(20, () => {
    calls += 1
  })
  await until(() => calls === 1)
  await pass(100)
  t.is(calls, 1)
})

test('idle timer: as long as something moves, it does not call', async (t) => {
  let calls = 0
  const timer = createIdleTimer(200, () => {
    calls += 1
  })
  await pass(700, timer.touch)
  t.is(calls, 0)
  await until(() => calls === 1)
})

test('idle timer: a longer time holds from now on, and so does a shorter one', async (t) => {
  let calls = 0
  const timer = createIdleTimer(50, () => {
    calls += 1
  })
  timer.allow(60_000)
  await pass(200)
  t.is(calls, 0)
  timer.allow(20)
  await until(() => calls === 1)
})

test('idle timer: once stopped, it never calls, even if somebody still touches it', async (t) => {
  let calls = 0
  const timer = createIdleTimer(20, () => {
    calls += 1
  })
  timer.stop()
  timer.touch()
  await pass(100)
  t.is(calls, 0)
})

test('idle timer: each of many calls when its own time is over, whichever are stopped', async (t) => {
  const called: number[] = []
  const limits = [120, 20, 60_000, 80, 40, 100, 60]
  const timers = limits.map((limit) => createIdleTimer(limit, () => called.push(limit)))
  timers[0]?.stop()
  timers[4]?.stop()
  timers[4]?.stop()
  await until(() => called.length === 4)
  await pass(100)
  t.deepEqual(called, [20, 60, 80, 100])
  timers[2]?.stop()
})

test('idle timer: one that another stops in the same moment does not call', async (t) => {
  const called: string[] = []
  const pair = ['a', 'b'].map((name, index, { length }) =>
    createIdleTimer(20, () => {
      called.push(name)
      pair[length - 1 - index]?.stop()
    }),
  )
  const start = performance.now()
  // Nothing else runs meanwhile, so that both are overdue when they are looked at.
  while (performance.now() < start + 40);
  await until(() => called.length > 0)
  await pass(50)
  t.is(called.length, 1)
})

import { setImmediate as turn } from 'node:timers/promises'
import test from 'ava'
import { createTurns } from '../../../src/lib/turns.ts'

test('turns: of one key one works at a time, in order, also after a failure', async (t) => {
  const inTurn = createTurns()
  const log: string[] = []
  const work = (what: string, fails = false) =>
    inTurn('key', async () => {
      log.push(`${what} begins`)
      await turn()
      log.push(`${what} ends`)
      if (fails) throw new Error(what)
      return what
    })
  const results = await Promise.allSettled([work('a'), work('b', true), work('c')])
  t.deepEqual(log, ['a begins', 'a ends', 'b begins', 'b ends', 'c begins', 'c ends'])
  t.deepEqual(
    results.map(({ status }) => status),
    ['fulfilled', 'rejected', 'fulfilled'],
  )
  t.is(await work('d'), 'd')
})

test('turns: other keys do not wait', async (t) => {
  const inTurn = createTurns()
  const { promise, resolve } = Promise.withResolvers<void>()
  const first = inTurn('a', () => promise)
  t.is(await inTurn('b', async () => 'done'), 'done')
  resolve()
  await first
})

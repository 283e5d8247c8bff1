import test from 'ava'
import { createKeyedTakeover } from '../../../src/lib/keyed-takeover.ts'

const create = () => createKeyedTakeover(() => new Error('let go'))

test('keyed takeover: work that fails does not keep the next from its turn', async (t) => {
  const { run } = create()
  await t.throwsAsync(
    run('a', async () => {
      throw new Error('failed')
    }),
    { message: 'failed' },
  )
  t.is(await run('a', async () => 2), 2)
})

test('keyed takeover: work under one key never overlaps, and goes in order', async (t) => {
  const { run } = create()
  const log: string[] = []
  await Promise.all(
    ['1', '2', '3'].map((name) =>
      run('a', async () => {
        log.push(`+${name}`)
        await new Promise(setImmediate)
        log.push(`-${name}`)
      }),
    ),
  )
  t.deepEqual(log, ['+1', '-1', '+2', '-2', '+3', '-3'])
})

test('keyed takeover: a newcomer asks the holder to let go, and those in line before it', async (t) => {
  const { run } = create()
  const signals: AbortSignal[] = []
  const first = Promise.withResolvers<void>()
  const turns = [
    run('a', async (letGo) => {
      signals.push(letGo)
      await first.promise
    }),
  ]
  await new Promise(setImmediate)
  t.deepEqual(
    signals.map(({ aborted }) => aborted),
    [false],
  )
  turns.push(run('a', async (letGo) => void signals.push(letGo)))
  turns.push(run('a', async (letGo) => void signals.push(letGo)))
  t.is(signals[0]?.reason.message, 'let go')
  first.resolve()
  await Promise.all(turns)
  t.deepEqual(
    signals.map(({ aborted }) => aborted),
    [true, true, false],
  )
})

test('keyed takeover: another key is not delayed, nor asked to let go', async (t) => {
  const { run } = create()
  const end = Promise.withResolvers<boolean>()
  const slow = run('a', async (letGo) => (await end.promise) && letGo.aborted)
  t.is(await run('b', async () => 'done'), 'done')
  end.resolve(true)
  t.false(await slow)
})

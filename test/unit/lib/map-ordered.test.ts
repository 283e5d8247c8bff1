import { setImmediate as turn } from 'node:timers/promises'
import test from 'ava'
import { mapOrdered } from '../../../src/lib/map-ordered.ts'

test('map-ordered: results come in the order of the items, however long each takes', async (t) => {
  const slowFirst = async (item: number): Promise<number> => {
    for (let turns = 10 - item; turns > 0; turns--) await turn()
    return item * 2
  }
  t.deepEqual(await Array.fromAsync(mapOrdered([1, 2, 3, 4, 5], 3, slowFirst)), [2, 4, 6, 8, 10])
  t.deepEqual(await Array.fromAsync(mapOrdered([], 3, slowFirst)), [])
})

test('map-ordered: no more than the width are under way, and that many are', async (t) => {
  let now = 0
  let most = 0
  const work = async (): Promise<void> => {
    most = Math.max(most, ++now)
    await turn()
    now--
  }
  await Array.fromAsync(mapOrdered(Array(20).keys(), 4, work))
  t.is(most, 4)
})

test('map-ordered: whoever stops reading leaves the rest undone and nothing under way', async (t) => {
  const started: number[] = []
  const ended: number[] = []
  const work = async (item: number): Promise<number> => {
    started.push(item)
    await turn()
    ended.push(item)
    return item
  }
  for await (const item of mapOrdered(Array(100).keys(), 4, work)) {
    if (item === 1) break
  }
  t.deepEqual(started, [0, 1, 2, 3, 4])
  t.deepEqual(ended, started)
})

test('map-ordered: a failure is met in its turn, and others are not lost as unhandled', async (t) => {
  const met: number[] = []
  const work = async (item: number): Promise<number> => {
    if (item === 0) await turn()
    if (item > 0) throw new Error(`no. ${item}`)
    return item
  }
  const read = async (): Promise<void> => {
    for await (const item of mapOrdered([0, 1, 2, 3], 4, work)) met.push(item)
  }
  await t.throwsAsync(read, { message: 'no. 1' })
  t.deepEqual(met, [0])
})

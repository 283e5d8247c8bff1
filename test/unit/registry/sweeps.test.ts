import { setTimeout as sleep } from 'node:timers/promises'
import test from 'ava'
import { RegistryError } from '../../../src/lib/errors.ts'
import { openSweep, prepareSweeps, settleSweeps } from '../../../src/registry/sweeps.ts'
import { sweepsRoot } from '../../../src/storage/layout.ts'
import { createTestStore, watchDriver } from '../../support/store.ts'

const path = '/docker/registry/v2/blobs/sha256/ab/abc'
const day = 86_400_000

test('sweeps: a push waits for an announcement of what it relies on, and for no other', async (t) => {
  await using store = await createTestStore()
  const sweep = await openSweep(store.driver)
  await sweep?.announce([`${path}d`, path])
  t.false(await settleSweeps(store.driver, ['/docker/registry/v2/blobs/sha256/ab']))
  let isSettled = false
  const settled = settleSweeps(store.driver, ['/other', path]).then((waited) => {
    isSettled = true
    return waited
  })
  await settleSweeps(store.driver, ['/nothing'])
  t.false(isSettled)
  await sweep?.announce(['/next'])
  t.true(await settled)
  await sweep?.[Symbol.asyncDispose]()
  t.false(await settleSweeps(store.driver, ['/next']))
})

test('sweeps: an announcement that nobody renews is removed by who waits, whatever its age says', async (t) => {
  await using store = await createTestStore()
  for (const age of [0, day, -day]) {
    const file = `${sweepsRoot}/killed`
    await store.file(file, `\n${path}\n`)
    await store.driver.touch(file, Date.now() - age)
    t.true(await settleSweeps(store.driver, [path], 200))
    t.is(await store.driver.stat(file), undefined)
  }
})

test('sweeps: an announcement that is renewed keeps a push waiting, whatever its age says', async (t) => {
  await using store = await createTestStore()
  const file = `${sweepsRoot}/skewed`
  await store.file(file, `\n${path}\n`)
  let beats = 0
  const beat = setInterval(() => {
    beats += 1
    void (beats < 40
      ? store.driver.touch(file, Date.now() - day + beats)
      : store.driver.remove(file, { durable: false }))
  }, 20)
  t.true(await settleSweeps(store.driver, [path], 400))
  clearInterval(beat)
  t.true(beats >= 40)
})

test('sweeps: a collection removes what a killed one announced, and gives way to one that lives', async (t) => {
  await using store = await createTestStore()
  const file = `${sweepsRoot}/other`
  await store.file(file, `\n${path}\n`)
  const beat = setInterval(() => void store.driver.touch(file), 20)
  t.is(await openSweep(store.driver, 5_000), undefined)
  clearInterval(beat)
  await using sweep = await openSweep(store.driver, 200)
  t.not(sweep, undefined)
  t.is((await store.driver.list(sweepsRoot))?.length, 1)
})

test('sweeps: one that sees another begin at the same moment gives way', async (t) => {
  await using store = await createTestStore()
  const driver = watchDriver(store.driver, {
    after: ({ method }) =>
      method === 'write' ? store.file(`${sweepsRoot}/simultaneous`, '\n\n') : undefined,
  })
  t.is(await openSweep(driver), undefined)
  t.deepEqual(await store.files(), ['/tidegate/sweeps/simultaneous'])
})

test('sweeps: on a full disk an empty file condemns everything, until the collection ends', async (t) => {
  await using store = await createTestStore()
  await prepareSweeps(store.driver)
  t.deepEqual(await store.driver.list(sweepsRoot), [])
  const full = {
    ...store.driver,
    write: async () => {
      throw new RegistryError('STORAGE_FULL')
    },
  }
  const sweep = await openSweep(full)
  await sweep?.announce([path])
  t.true(sweep?.isHeard())
  let isSettled = false
  const settled = settleSweeps(store.driver, ['/anything']).then((waited) => {
    isSettled = true
    return waited
  })
  await sleep(150)
  t.false(isSettled)
  await sweep?.[Symbol.asyncDispose]()
  t.true(await settled)
  t.deepEqual(await store.driver.list(sweepsRoot), [])
})

test('sweeps: what a killed collection was about to announce goes with the next', async (t) => {
  await using store = await createTestStore()
  await store.file(`${sweepsRoot}/run.12345.tmp`, 'torn')
  const sweep = await openSweep(store.driver)
  await sweep?.[Symbol.asyncDispose]()
  t.deepEqual(await store.driver.list(sweepsRoot), [])
})

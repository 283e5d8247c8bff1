import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import test, { type ExecutionContext } from 'ava'
import { RegistryError } from '../../../src/lib/errors.ts'
import { buryDead, prepareSweeps } from '../../../src/registry/sweep-announcements.ts'
import { openSweep, settleSweeps } from '../../../src/registry/sweeps.ts'
import type { StorageDriver } from '../../../src/storage/driver.ts'
import { sweepsRoot } from '../../../src/storage/layout.ts'
import { createTestStore, watchDriver } from '../../support/store.ts'

const path = '/docker/registry/v2/blobs/sha256/ab/abc'
const day = 86_400_000

/** Lets a clock jump until the test is over. */
function jump(t: ExecutionContext, clock: { now(): number }, ms: number): void {
  const { now } = clock
  clock.now = () => now.call(clock) + ms
  t.teardown(() => {
    clock.now = now
  })
}

// These change clocks, so nothing else runs beside them.
for (const clock of [Date, performance]) {
  test.serial(
    `sweeps: a collection that was silent for too long by ${clock === Date ? 'one clock' : 'the other'} is over for good`,
    async (t) => {
      await using store = await createTestStore()
      await using sweep = await openSweep(store.driver)
      const before = await store.files()
      jump(t, clock, 20_000)
      t.false(sweep?.isHeard())
      jump(t, clock, -20_000)
      t.false(sweep?.isHeard())
      await sweep?.announce([path])
      t.deepEqual(await store.files(), before)
      t.false(await settleSweeps(store.driver, [path]))
    },
  )
}

test.serial('sweeps: an announcement after a silence makes nobody believe again', async (t) => {
  await using store = await createTestStore()
  await using sweep = await openSweep(store.driver)
  jump(t, performance, 20_000)
  await sweep?.announce([path])
  t.false(sweep?.isHeard())
})

test.serial(
  'sweeps: who waits and is stopped does not take that for silence of a collection',
  async (t) => {
    await using store = await createTestStore()
    const file = `${sweepsRoot}/alive.1`
    await store.file(file, `\n${path}\n`)
    let looks = 0
    const driver = watchDriver(store.driver, {
      after({ method }) {
        if (method !== 'stat') return
        looks += 1
        if (looks === 2) jump(t, performance, day)
      },
    })
    const settled = settleSweeps(driver, [path])
    await sleep(400)
    t.true(looks > 2)
    t.not(await store.driver.stat(file), undefined)
    await store.driver.remove(file, { durable: false })
    t.true(await settled)
  },
)

test('sweeps: a collection whose announcement was removed is over for good', async (t) => {
  await using store = await createTestStore()
  await using sweep = await openSweep(store.driver)
  await sweep?.announce([path])
  t.true(sweep?.isHeard())
  for (const { name } of (await store.driver.list(sweepsRoot)) ?? [])
    await store.driver.remove(`${sweepsRoot}/${name}`, { durable: false })
  await sweep?.announce(['/rest'])
  t.false(sweep?.isHeard())
})

test('sweeps: an announcement is read once, however many ask and however often it is renewed', async (t) => {
  await using store = await createTestStore()
  await using sweep = await openSweep(store.driver)
  await sweep?.announce([path])
  let reads = 0
  const driver = watchDriver(store.driver, {
    before: ({ method }) => {
      if (method === 'read') reads += 1
    },
  })
  for (let round = 0; round < 3; round += 1) {
    await Promise.all([1, 2, 3].map(() => settleSweeps(driver, ['/other'])))
    for (const { name } of (await store.driver.list(sweepsRoot)) ?? [])
      await store.driver.touch(`${sweepsRoot}/${name}`, Date.now() + round)
  }
  t.is(reads, 1)
  await sweep?.announce(['/next'])
  t.false(await settleSweeps(driver, [path]))
  t.is(reads, 2)
})

test('sweeps: a push that looks while one announcement follows another misses neither', async (t) => {
  await using store = await createTestStore()
  await using sweep = await openSweep(store.driver)
  await sweep?.announce([path, '/first'])
  let isFollowed = false
  const driver = watchDriver(store.driver, {
    async after({ method }) {
      if (method !== 'list' || isFollowed) return
      isFollowed = true
      await sweep?.announce([path])
    },
  })
  let isSettled = false
  const settled = settleSweeps(driver, [path]).then((waited) => {
    isSettled = true
    return waited
  })
  await sleep(150)
  t.true(isFollowed)
  t.false(isSettled)
  await sweep?.announce([])
  t.true(await settled)
})

test('sweeps: an announcement is removed only when the next one is there', async (t) => {
  await using store = await createTestStore()
  const counts: (number | undefined)[] = []
  const driver = watchDriver(store.driver, {
    async before({ method }) {
      if (method === 'remove') counts.push((await store.driver.list(sweepsRoot))?.length)
    },
  })
  await using sweep = await openSweep(driver)
  await sweep?.announce([path])
  await sweep?.announce([])
  t.deepEqual(counts, [2, 2])
})

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
  t.false(await settleSweeps(store.driver, ['/anything']))
})

test('sweeps: where not even an empty file can be made the spare one condemns everything, again and again', async (t) => {
  await using store = await createTestStore()
  await prepareSweeps(store.driver)
  t.false(await settleSweeps(store.driver, [path]))
  let isFull = true
  const refuse = async () => {
    throw new RegistryError('STORAGE_FULL')
  }
  const driver: StorageDriver = {
    ...store.driver,
    create: refuse,
    write: (...args) => (isFull ? refuse() : store.driver.write(...args)),
  }
  for (let round = 0; round < 2; round += 1) {
    isFull = true
    const sweep = await openSweep(driver)
    await sweep?.announce([path])
    t.true(sweep?.isHeard())
    const settled = settleSweeps(store.driver, ['/anything'])
    await sleep(100)
    isFull = false
    await sweep?.announce([path])
    t.true(await settled, 'when there is room again only what is named waits')
    t.is((await store.driver.list(sweepsRoot))?.length, 2)
    await sweep?.[Symbol.asyncDispose]()
    t.deepEqual(await store.driver.list(sweepsRoot), [{ kind: 'file', name: 'spare' }])
  }
  await store.file(`${sweepsRoot}/killed.all`, '')
  await store.driver.remove(`${sweepsRoot}/spare`, { durable: false })
  await buryDead(driver, { patienceMs: 200 })
  t.deepEqual(await store.driver.list(sweepsRoot), [{ kind: 'file', name: 'spare' }])
})

test('sweeps: what a killed collection was about to announce goes with the next', async (t) => {
  await using store = await createTestStore()
  await store.file(`${sweepsRoot}/run.1.${randomUUID()}.tmp`, 'torn')
  const sweep = await openSweep(store.driver)
  await sweep?.[Symbol.asyncDispose]()
  t.deepEqual(await store.driver.list(sweepsRoot), [])
})

test('sweeps: a collection that fails to begin leaves no announcement behind', async (t) => {
  await using store = await createTestStore()
  for (const failing of ['stat', 'list'] as const) {
    let left = failing === 'list' ? 3 : 0
    const driver = {
      ...store.driver,
      stat: async (path: string) => {
        if (failing === 'stat' && path.startsWith(`${sweepsRoot}/`)) throw new Error('EMFILE')
        return store.driver.stat(path)
      },
      list: async (path: string) => {
        if (failing === 'list' && path === sweepsRoot && left-- === 0) throw new Error('EMFILE')
        return store.driver.list(path)
      },
    }
    await t.throwsAsync(openSweep(driver), { message: 'EMFILE' })
    t.deepEqual(await store.driver.list(sweepsRoot), [], failing)
  }
})

test('sweeps: on a disk that takes no writes a dead announcement holds nobody up for long, nor twice', async (t) => {
  await using store = await createTestStore()
  await store.file(`${sweepsRoot}/killed.1`, `\n${path}\n`)
  let removals = 0
  const driver = {
    ...store.driver,
    remove: async () => {
      removals += 1
      throw new RegistryError('UNAVAILABLE')
    },
  }
  t.true(await settleSweeps(driver, [path], 200))
  t.false(await settleSweeps(driver, [path], 200))
  t.is(removals, 1)
})

test('sweeps: an announcement that cannot be looked at is not taken for a dead one', async (t) => {
  await using store = await createTestStore()
  await using sweep = await openSweep(store.driver)
  await sweep?.announce([path])
  let failures = 1
  const driver = {
    ...store.driver,
    stat: async (file: string) => {
      if (failures-- > 0) throw new Error('EMFILE')
      return store.driver.stat(file)
    },
  }
  await t.throwsAsync(settleSweeps(driver, [path]), { message: 'EMFILE' })
  let isSettled = false
  const settled = settleSweeps(driver, [path]).then(() => {
    isSettled = true
  })
  await sleep(150)
  t.false(isSettled, 'it is waited for again')
  await sweep?.[Symbol.asyncDispose]()
  await settled
})

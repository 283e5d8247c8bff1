import { setTimeout as sleep } from 'node:timers/promises'
import test from 'ava'
import { pino } from 'pino'
import { type MaintenanceParts, startMaintenance } from '../../../src/registry/maintenance.ts'
import type { StorageDriver } from '../../../src/storage/driver.ts'
import { blobData, sweepsRoot, trashRoot, uploads } from '../../../src/storage/layout.ts'
import {
  createTestStore,
  digestOf,
  repo,
  type TestStore,
  watchDriver,
} from '../../support/store.ts'

const hour = 3_600_000
const session = `${uploads(repo('app'))}/idle/data`

function parts(driver: StorageDriver, changes: Partial<MaintenanceParts>): MaintenanceParts {
  return {
    ...{ driver, log: pino({ level: 'silent' }), purge: undefined, gc: undefined },
    isReadonly: async () => false,
    ...changes,
  }
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await sleep(5)
}

async function idleStore(): Promise<TestStore> {
  const store = await createTestStore()
  await store.file(session, 'abc')
  await store.file(`${trashRoot}/left/data`, 'abc')
  await store.layer('app', 'of nobody')
  await store.age(25 * hour)
  return store
}

const purge = { intervalMs: hour, ageMs: 24 * hour, dryRun: false }
const gc = { intervalMs: 10, graceMs: hour, untagged: 'keep' } as const

test('maintenance: a step that fails is logged, and tried again', async (t) => {
  await using store = await idleStore()
  const messages: string[] = []
  const log = pino({ level: 'error' }, { write: (line: string) => messages.push(line) })
  let failures = 0
  const driver = watchDriver(store.driver, {
    before({ method }) {
      if (method !== 'list' || failures === 2) return
      failures += 1
      throw new Error('input/output error')
    },
  })
  await using _ = startMaintenance(parts(driver, { log, purge: { ...purge, intervalMs: 5 } }))
  await until(async () => (await store.driver.stat(session)) === undefined)
  t.is(messages.length, 2)
  t.regex(messages.join(), /input\/output error/)
})

test('maintenance: uploads are purged and the trash is emptied at the start', async (t) => {
  await using store = await idleStore()
  await sleep(2_200)
  await using _ = startMaintenance(parts(store.driver, { purge }))
  await until(async () => (await store.driver.list(trashRoot))?.length === 0)
  t.deepEqual(
    (await store.files()).filter((path) => path.includes('_uploads')),
    [],
  )
})

test('maintenance: what came into the trash just now may be put back, and stays', async (t) => {
  await using store = await idleStore()
  await using _ = startMaintenance(parts(store.driver, { purge: { ...purge, intervalMs: 5 } }))
  await until(async () => (await store.driver.stat(session)) === undefined)
  await sleep(50)
  t.true((await store.driver.list(trashRoot))?.some(({ name }) => name === 'left'))
})

test('maintenance: collections begin after a random part of the interval', async (t) => {
  await using store = await idleStore()
  await store.driver.remove(uploads(repo('app')), { durable: false })
  await using never = startMaintenance(
    parts(store.driver, { gc: { ...gc, intervalMs: 1e12 }, random: () => 0.9 }),
  )
  t.truthy(never)
  await using _ = startMaintenance(parts(store.driver, { gc, random: () => 0.5 }))
  const layer = blobData(digestOf('of nobody'))
  t.not(await store.driver.stat(layer), undefined)
  await until(async () => (await store.driver.stat(layer)) === undefined)
})

test('maintenance: what a killed collection announced is taken back at the start, which waits for nothing', async (t) => {
  await using store = await idleStore()
  await store.file(`${sweepsRoot}/killed.1`, '\n/anything\n')
  await using _ = startMaintenance(parts(store.driver, { purge, patienceMs: 300 }))
  await until(async () => (await store.driver.stat(session)) === undefined)
  t.not(await store.driver.stat(`${sweepsRoot}/killed.1`), undefined)
  await until(async () => (await store.driver.stat(`${sweepsRoot}/killed.1`)) === undefined)
  t.deepEqual(await store.driver.list(sweepsRoot), [{ kind: 'file', name: 'spare' }])
})

test('maintenance: nothing happens while the store is read-only', async (t) => {
  await using store = await idleStore()
  const before = await store.files()
  let asked = 0
  const isReadonly = async (): Promise<boolean> => {
    asked += 1
    return true
  }
  await using _ = startMaintenance(
    parts(store.driver, { gc, purge: { ...purge, intervalMs: 5 }, isReadonly }),
  )
  await until(() => asked >= 6)
  t.deepEqual(await store.files(), before)
})

test('maintenance: a step that is left out is told once, and again after it was not', async (t) => {
  await using store = await idleStore()
  const told: string[] = []
  const log = pino({ level: 'info' }, { write: (line) => void told.push(JSON.parse(line).step) })
  let asked = 0
  let readonly = true
  const isReadonly = async (): Promise<boolean> => {
    asked += 1
    return readonly
  }
  const often = { ...purge, intervalMs: 1, ageMs: 48 * hour }
  await using _ = startMaintenance(parts(store.driver, { log, purge: often, isReadonly }))
  const count = (): number => told.filter((step) => step === 'upload purge').length
  for (const [isOn, expected] of [
    [true, 1],
    [false, 1],
    [true, 2],
  ] as const) {
    readonly = isOn
    const before = asked
    await until(() => asked >= before + 10)
    t.is(count(), expected)
  }
})

test('maintenance: a stop ends the step that is under way, and no other begins', async (t) => {
  await using store = await idleStore()
  await store.layer('other', 'of nobody else')
  await store.age(25 * hour)
  const started = Promise.withResolvers<void>()
  let calls = 0
  const driver = watchDriver(store.driver, {
    async before() {
      calls += 1
      started.resolve()
      await sleep(1)
    },
  })
  const maintenance = startMaintenance(parts(driver, { gc: { ...gc, intervalMs: 1 }, purge }))
  await started.promise
  await maintenance[Symbol.asyncDispose]()
  const callsAtStop = calls
  await sleep(50)
  t.is(calls, callsAtStop)
})

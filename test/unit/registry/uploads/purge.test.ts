import test from 'ava'
import { pino } from 'pino'
import { purgeUploads } from '../../../../src/registry/uploads/purge.ts'
import { uploads } from '../../../../src/storage/layout.ts'
import { createTestStore, repo, watchDriver } from '../../../support/store.ts'

const hour = 3_600_000
const log = pino({ level: 'silent' })
const sessions = uploads(repo('team/app'))

test('upload purge: sessions in which nothing moved go, with what is in them', async (t) => {
  await using store = await createTestStore()
  await store.file(`${sessions}/idle/startedat`, '2020-01-01T00:00:00Z')
  await store.file(`${sessions}/idle/data`, 'abc')
  await store.file(`${sessions}/leaked/hashstates/sha256/0`, 'state')
  await store.age(25 * hour)
  await store.file(`${sessions}/begun/startedat`, '2020-01-01T00:00:00Z')
  const options = { driver: store.driver, log, ageMs: 24 * hour }
  t.deepEqual(await purgeUploads({ ...options, dryRun: true }), { sessions: 2, bytes: 28 })
  t.is((await store.files()).length, 4)
  t.deepEqual(await purgeUploads({ ...options, dryRun: false }), { sessions: 2, bytes: 28 })
  t.deepEqual(await store.files(), ['/repositories/team/app/_uploads/begun/startedat'])
  t.deepEqual(await purgeUploads({ ...options, dryRun: false }), { sessions: 0, bytes: 0 })
})

test('upload purge: a session stays as long as anything in it is written to', async (t) => {
  await using store = await createTestStore()
  await store.file(`${sessions}/claimed/startedat`, '2020-01-01T00:00:00Z')
  await store.file(`${sessions}/claimed/data.6f1d`, 'abc')
  await store.file(`${sessions}/nested/hashstates/sha256/9`, 'state')
  await store.age(25 * hour)
  await store.driver.touch(`${sessions}/claimed/data.6f1d`)
  await store.driver.touch(`${sessions}/nested/hashstates/sha256/9`)
  const report = await purgeUploads({ driver: store.driver, log, ageMs: 24 * hour, dryRun: false })
  t.is(report.sessions, 0)
})

test('upload purge: a session that ended meanwhile is not counted', async (t) => {
  await using store = await createTestStore()
  await store.file(`${sessions}/idle/data`, 'abc')
  await store.age(25 * hour)
  const driver = watchDriver(store.driver, {
    async before({ method, args }) {
      if (method === 'remove') await store.driver.remove(String(args[0]), { durable: false })
    },
  })
  const report = await purgeUploads({ driver, log, ageMs: 24 * hour, dryRun: false })
  t.deepEqual(report, { sessions: 0, bytes: 0 })
})

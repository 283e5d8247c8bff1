import { setImmediate as turn } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import test from 'ava'
import { hashPassword } from '../../../src/auth/password-hash.ts'
import { createPasswordVerifier } from '../../../src/auth/password-verifier.ts'
import type { Login } from '../../../src/auth/verifier-pool.ts'
import { startVerifierWorker } from '../../../src/auth/verifier-threads.ts'
import { createMetrics } from '../../../src/observability/metrics.ts'
import { captureLog } from './captured-log.ts'

const sha = '{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=' // secret
const login = { user: 'alice', client: '192.0.2.1', password: 'secret', hash: sha }

const startMute = (): Worker =>
  new Worker("require('node:worker_threads').parentPort.on('message', () => {})", { eval: true })

/** A verifier that counts the hashes that its threads compute. */
function createFixture(start = startVerifierWorker) {
  const { log } = captureLog()
  const metrics = createMetrics()
  const count = { hashes: 0 }
  const startWorker = (): Worker => start().on('message', () => void count.hashes++)
  const verifier = createPasswordVerifier({ log, metrics, startWorker })
  const outcomes = async (): Promise<Record<string, number>> => {
    const families = await metrics.snapshot()
    const samples = families
      .filter(({ name }) => name.startsWith('tidegate_password_verifications'))
      .flatMap(({ values }) => values)
    return Object.fromEntries(
      samples.map(({ labels, value }) => [labels['outcome'] ?? 'waiting', value]),
    )
  }
  return { verifier, count, outcomes, [Symbol.asyncDispose]: verifier[Symbol.asyncDispose] }
}

test('what is still in progress when it closes is UNAVAILABLE', async (t) => {
  await using fixture = createFixture(startMute)
  const verification = t.throwsAsync(fixture.verifier.verify(login), { code: 'UNAVAILABLE' })
  await fixture.verifier[Symbol.asyncDispose]()
  await verification
  await t.throwsAsync(fixture.verifier.verify(login), { code: 'UNAVAILABLE' })
})

test('who would be served last of too many is TOOMANYREQUESTS, and counted', async (t) => {
  await using fixture = createFixture(startMute)
  const { verifier, outcomes } = fixture
  const ended = Array.from({ length: 300 }, (_, at) =>
    verifier.verify({ ...login, user: `user${at}` }).catch((error: unknown) => error),
  )
  await turn() // rejections are heard of later
  const { refused = 0, waiting } = await outcomes()
  t.true(refused >= 300 - 256 - 4, `${refused} refused`)
  t.is(waiting, 256)
  await verifier[Symbol.asyncDispose]()
  await Promise.all(ended)
  t.deepEqual(await outcomes(), {
    right: 0,
    wrong: 0,
    refused,
    failed: 300 - refused,
    waiting: 0,
  })
})

test('a claim that was right once costs no second hash, whoever asks; a wrong one does', async (t) => {
  await using fixture = createFixture()
  const { verifier, count, outcomes } = fixture
  t.true(await verifier.verify(login))
  t.true(await verifier.verify({ ...login, client: '192.0.2.2' }))
  t.is(count.hashes, 1)
  t.false(await verifier.verify({ ...login, password: 'wrong' }))
  t.false(await verifier.verify({ ...login, password: 'wrong' }))
  t.is(count.hashes, 3)
  t.deepEqual(await outcomes(), { right: 1, wrong: 2, refused: 0, failed: 0, waiting: 0 })
})

test('equal claims in flight share one hash, right or wrong', async (t) => {
  await using fixture = createFixture()
  const { verifier, count } = fixture
  for (const password of ['secret', 'wrong']) {
    const claim = { ...login, password, hash: hashPassword('secret', 4) }
    const answers = await Promise.all(Array.from({ length: 50 }, () => verifier.verify(claim)))
    t.deepEqual(new Set(answers), new Set([password === 'secret']))
  }
  t.is(count.hashes, 2)
})

/** Who ends in which order: the client of many wrong logins, and another that comes before it. */
async function endsAfterWrong(repeated: Partial<Login>): Promise<string[]> {
  await using fixture = createFixture()
  const { verifier } = fixture
  const hash = hashPassword('secret', 8)
  for (let left = 20; left > 0; left--) {
    const wrong = { ...login, user: 'mallory', password: 'wrong' }
    await verifier.verify({ ...wrong, ...repeated })
  }
  const ended: string[] = []
  const verify = async (client: string, at: number): Promise<void> => {
    await verifier.verify({ user: 'mallory', client, password: `wrong ${at}`, hash, ...repeated })
    ended.push(client)
  }
  const good = Array.from({ length: 4 }, (_, at) => verify('192.0.2.2', at))
  const suspect = Array.from({ length: 20 }, (_, at) => verify('192.0.2.1', 100 + at))
  await Promise.all([...good, ...suspect])
  return ended
}

test('who was found wrong waits behind who was not, though they came later', async (t) => {
  const ended = await endsAfterWrong({})
  // Newest first, the suspect ones would all have ended before.
  t.true(ended.lastIndexOf('192.0.2.2') < 10, ended.join())
})

test('what is verified in vain, because it is wrong already, counts no second time', async (t) => {
  const ended = await endsAfterWrong({ isCounted: true })
  t.true(ended.lastIndexOf('192.0.2.2') >= 10, ended.join())
})

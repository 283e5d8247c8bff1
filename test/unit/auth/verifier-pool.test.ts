import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { Worker } from 'node:worker_threads'
import test from 'ava'
import { hashPassword } from '../../../src/auth/password-hash.ts'
import { createVerifierPool } from '../../../src/auth/verifier-pool.ts'
import { startVerifierWorker } from '../../../src/auth/verifier-threads.ts'
import { captureLog } from './captured-log.ts'

const hash = '{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ='
const login = { user: 'alice', client: '192.0.2.1', password: 'secret', hash }
const calm = (): [number, number] => [0, 0]

const startDying = (): Worker =>
  new Worker("require('node:worker_threads').parentPort.on('message', () => process.exit(1))", {
    eval: true,
  })
const startThrowing = (): Worker =>
  new Worker(
    "require('node:worker_threads').parentPort.on('message', () => { throw new Error('broken') })",
    { eval: true },
  )
const startMute = (): Worker =>
  new Worker("require('node:worker_threads').parentPort.on('message', () => {})", { eval: true })

test('a thread that dies is replaced and its verification tried again', async (t) => {
  const { log, lines } = captureLog()
  const starts = [startDying, startVerifierWorker]
  await using pool = createVerifierPool({
    log,
    suspicion: calm,
    size: 1,
    startWorker: () => (starts.shift() ?? startMute)(),
  })
  t.true(await pool.verify(login))
  t.false(await pool.verify({ ...login, password: 'wrong' }))
  t.deepEqual(starts, [])
  t.deepEqual(
    lines.map(({ msg }) => msg),
    ['password verification thread died'],
  )
})

test('a verification that kills two threads fails, and the next one is served', async (t) => {
  const starts = [startThrowing, startDying, startVerifierWorker]
  await using pool = createVerifierPool({
    log: captureLog().log,
    suspicion: calm,
    size: 1,
    startWorker: () => (starts.shift() ?? startMute)(),
  })
  await t.throwsAsync(pool.verify(login), { message: /died twice/ })
  t.true(await pool.verify(login))
})

test('beyond the longest queue the answer is TOOMANYREQUESTS with Retry-After', async (t) => {
  const pool = createVerifierPool({
    log: captureLog().log,
    suspicion: ({ user }) => [user === 'guess' ? 1 : 0, 0],
    size: 1,
    maxWaiting: 2,
    startWorker: startMute,
  })
  const outcome = (user: string): Promise<unknown> =>
    pool.verify({ ...login, user }).catch((error: unknown) => error)
  const first = outcome('running')
  const waiting = [outcome('guess'), outcome('a'), outcome('b')]
  t.like(await waiting[0], { code: 'TOOMANYREQUESTS', headers: { 'retry-after': '1' } })
  await pool[Symbol.asyncDispose]()
  for (const left of [first, ...waiting.slice(1)]) t.like(await left, { code: 'UNAVAILABLE' })
  await t.throwsAsync(pool.verify(login), { code: 'UNAVAILABLE' })
})

/** A thread starter that keeps count of threads, and of how many ever worked at once. */
function countThreads() {
  const count = { started: 0, working: 0, mostWorking: 0 }
  const startWorker = (): Worker => {
    const worker = startVerifierWorker()
    const post = worker.postMessage.bind(worker)
    count.started++
    worker.postMessage = (message) => {
      count.working++
      count.mostWorking = Math.max(count.mostWorking, count.working)
      post(message)
    }
    worker.on('message', () => {
      count.working--
    })
    return worker
  }
  return { count, startWorker }
}

test('no thread starts before it is needed, and no more than the pool has room for', async (t) => {
  const { count, startWorker } = countThreads()
  const { log } = captureLog()
  await using pool = createVerifierPool({ log, suspicion: calm, size: 2, startWorker })
  t.is(count.started, 0)
  await pool.verify(login)
  const slow = { ...login, hash: hashPassword('secret', 9) }
  const results = await Promise.all(
    Array.from({ length: 10 }, (_, at) => pool.verify({ ...slow, password: `${at}` })),
  )
  t.deepEqual(count, { started: 2, working: 0, mostWorking: 2 })
  t.deepEqual(new Set(results), new Set([false]))
})

test('verifications do not begin in step, so that a thread comes free soon', async (t) => {
  const { count, startWorker } = countThreads()
  await using pool = createVerifierPool({
    log: captureLog().log,
    suspicion: calm,
    size: 2,
    startWorker,
    now: () => 0, // no time passes, so a second one never begins beside the first
  })
  await Promise.all(Array.from({ length: 10 }, () => pool.verify(login)))
  t.is(count.mostWorking, 1)
})

test('an idle pool holds no process, and closing it is never left half done', async (t) => {
  const program = `
    import { createVerifierPool } from '${new URL('../../../src/auth/verifier-pool.ts', import.meta.url)}'
    const pool = createVerifierPool({ log: {}, suspicion: () => [0, 0] })
    console.log(await pool.verify(${JSON.stringify(login)}))
    if (process.argv[1] === 'close') {
      await pool[Symbol.asyncDispose]()
      console.log('closed')
    }`
  const run = promisify(execFile)
  const args = ['--input-type=module', '-e', program]
  t.is((await run(process.execPath, [...args, 'leave'])).stdout, 'true\n')
  t.is((await run(process.execPath, [...args, 'close'])).stdout, 'true\nclosed\n')
})

import { execFile } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { Agent, get } from 'node:https'
import { connect } from 'node:net'
import { promisify } from 'node:util'
import test from 'ava'
import { startHttpBackend } from '../support/backends.ts'
import { present, startSeveralWorkers, until } from '../support/several-workers.ts'

const run = promisify(execFile)
const digestOf = (bytes: Buffer): string =>
  `sha256:${createHash('sha256').update(bytes).digest('hex')}`

test('workers: an address that is taken is one line and 78, however many wanted it', async (t) => {
  await using taken = await startHttpBackend(() => {})
  const args = ['serve', '--upstream', taken.url, '--addr', `127.0.0.1:${taken.port}`]
  const env = { ...process.env, REGISTRY_WORKERS: '3' }
  const error = await t.throwsAsync(run(process.execPath, ['src/cli.ts', ...args], { env }))
  const { code, stdout, stderr } = error as Error & { code: number; stdout: string; stderr: string } // what execFile rejects with
  t.is(code, 78)
  t.regex(
    stderr,
    /^tidegate: http\.addr 127\.0\.0\.1:[0-9]+: another process listens there[^\n]*\n$/,
  )
  t.notRegex(stdout, /listening|ended/)
})

test('workers: one that is killed takes its own transfers with it, and another comes in its place', async (t) => {
  await using server = await startSeveralWorkers({ workers: 2 })
  const bytes = randomBytes(1_000_000)
  const [one, other] = await server.connect(2)
  if (one === undefined || other === undefined) throw new Error('there are two')
  const path = `/v2/a/blobs/uploads/?digest=${encodeURIComponent(digestOf(bytes))}`
  const broken = one.begin({ method: 'POST', path })
  const whole = other.begin({ method: 'POST', path })
  const failed = t.throwsAsync(once(broken, 'response'), { code: 'ECONNRESET' })
  for (const upload of [broken, whole]) upload.write(bytes.subarray(0, 500_000))
  const before = await server.workerPids()
  // In the order of their start, as their numbers are.
  process.kill(present(before[one.worker - 1]), 'SIGKILL')
  await failed
  whole.end(bytes.subarray(500_000))
  const [res] = await once(whole, 'response')
  t.is(res.statusCode, 201)
  const lost = await until(() => server.lines.find(({ msg }) => /ended/.test(String(msg))))
  t.like(lost, {
    level: 'warn',
    worker: one.worker,
    pid: before[one.worker - 1],
    signal: 'SIGKILL',
  })
  const clients = await server.connect(2)
  t.false(clients.some(({ worker }) => worker === one.worker))
  const { stdout } = await run(process.execPath, ['src/cli.ts', 'fsck', server.configFile])
  t.regex(stdout, /the store is in order/)
  for (const client of [one, other, ...clients]) client[Symbol.dispose]()
})

test('workers: one that is killed again and again is started again, and the others serve', async (t) => {
  await using server = await startSeveralWorkers()
  const [survivor] = await server.workerPids()
  for (let deaths = 1; deaths <= 4; deaths += 1) {
    const victim = await until(async () =>
      (await server.workerPids()).find((pid) => pid !== survivor),
    )
    process.kill(victim, 'SIGKILL')
    // One that was just being handed to it is reset.
    const answer = await server.ask({ path: '/v2/' }).catch(() => server.ask({ path: '/v2/' }))
    t.is(answer.status, 200)
    await until(() => server.lines.filter(({ pid }) => pid === victim).length === 1)
  }
  for (const client of await server.connect(2)) client[Symbol.dispose]()
  t.is(await server.stop(), 0)
})

test('workers: a connection on its way to one that dies is closed, not left to wait', async (t) => {
  await using server = await startSeveralWorkers()
  const pids = await server.workerPids()
  for (const pid of pids) process.kill(pid, 'SIGSTOP')
  const waiting = [connect(server.port, '127.0.0.1'), connect(server.port, '127.0.0.1')]
  const closed = waiting.map((socket) =>
    once(
      socket.on('error', () => {}),
      'close',
    ),
  )
  await Promise.all(waiting.map((socket) => once(socket, 'connect')))
  const [one, other] = pids
  process.kill(present(one), 'SIGKILL')
  await t.notThrowsAsync(Promise.race(closed))
  process.kill(present(other), 'SIGCONT')
  for (const client of await server.connect(2)) client[Symbol.dispose]()
  for (const socket of waiting) socket.destroy()
})

test('workers: connections may be spread unevenly and are not refused before there are as many as may be', async (t) => {
  await using server = await startSeveralWorkers({ http: 'maxconnections: 6' })
  const [busy] = await server.workerPids()
  process.kill(present(busy), 'SIGSTOP')
  const agent = new Agent({ keepAlive: true })
  const answers = Array.from({ length: 6 }, async () => {
    const req = get({ port: server.port, path: '/v2/', agent, rejectUnauthorized: false })
    const [res] = await once(req, 'response')
    return res.resume().statusCode
  })
  let answered = 0
  for (const answer of answers) void answer.then(() => (answered += 1), t.fail)
  // One waits for the worker that is stopped.
  await until(() => answered === 5)
  process.kill(present(busy), 'SIGCONT')
  t.deepEqual(await Promise.all(answers), Array(6).fill(200))
  agent.destroy()
})

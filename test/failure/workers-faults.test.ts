import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import type { ClientRequest } from 'node:http'
import net from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import test from 'ava'
import { hashPassword } from '../../src/auth/password-hash.ts'
import { beginDownload, forwarding, startHeldBackend } from '../support/held-backend.ts'
import { isThere } from '../support/process-tree.ts'
import { type Client, present, startSeveralWorkers, until } from '../support/several-workers.ts'

const debug = "debug: {addr: '127.0.0.1:0', prometheus: {enabled: true}}"
const requests = 'tidegate_requests_total'

const htpasswd = (path: string) => `auth: {htpasswd: {realm: r, path: '${path}'}}
storage: {filesystem: {rootdirectory: FOLDER/store}}
`

async function askAs(client: Client, auth: string): Promise<number> {
  const req = client.begin({ path: '/v2/', auth })
  req.end()
  const [res] = await once(req, 'response')
  await res.resume().toArray()
  return res.statusCode
}

// One after the other: a worker with a fault gets ten seconds, in which another one has to start.

test.serial(
  'workers: one with a fault finishes its transfer while another serves in its place',
  async (t) => {
    await using backend = await startHeldBackend()
    const faulty = new URL('../support/fault-on-signal.js', import.meta.url)
    await using server = await startSeveralWorkers({
      config: forwarding(backend.url),
      http: debug,
      wrapper: ['env', `NODE_OPTIONS=--import ${faulty}`],
    })
    const [leaver, other] = await server.connect(2)
    const pids = await server.workerPids()
    const download = await beginDownload(present(leaver))
    const victim = present(pids[present(leaver).worker - 1])
    process.kill(victim, 'SIGWINCH')
    await until(() => server.lines.find(({ msg }) => String(msg).includes('leaves')))
    const counted = await server.metric(requests)
    t.is(counted, server.lines.filter(({ msg }) => msg === 'request').length)
    const later = await server.connect(2)
    t.deepEqual(new Set(later.map(({ worker }) => worker)), new Set([present(other).worker, 3]))
    backend.finish()
    t.is(String(Buffer.concat(await download.toArray())), 'abcdef')
    await until(async () => !(await server.workerPids()).includes(victim))
    t.true((await server.metric(requests)) >= counted + 2)
    for (const client of [leaver, other, ...later]) client?.[Symbol.dispose]()
    t.is(await server.stop(), 0)
  },
)

test.serial('workers: what one has counted is not lost with it', async (t) => {
  await using server = await startSeveralWorkers({ http: debug })
  const clients = await server.connect(2)
  for (const client of clients) for (let i = 0; i < 10; i += 1) await askAs(client, 'a:b')
  const before = await server.metric(requests)
  t.true(before >= 22)
  const pids = await server.workerPids()
  process.kill(present(pids[0]), 'SIGKILL')
  await until(async () => (await server.workerPids()).some((pid) => !pids.includes(pid)))
  t.is(await server.metric(requests), before)
  t.is(await server.metric('tidegate_worker_exits_total'), 1)
  for (const client of [...clients, ...(await server.connect(2))]) client[Symbol.dispose]()
  t.true((await server.metric(requests)) >= before + 2)
})

test.serial(
  'workers: one that cannot come back for a broken file does when the file is mended',
  async (t) => {
    await using server = await startSeveralWorkers({
      config: htpasswd('FOLDER/server.htpasswd'),
      files: { 'server.htpasswd': `alice:${hashPassword('secret', 4)}\n` },
    })
    const file = join(server.folder, 'server.htpasswd')
    const good = await readFile(file)
    const [survivor, victim] = await server.workerPids()
    await writeFile(file, 'no user at all\n')
    process.kill(present(victim), 'SIGKILL')
    const lost = await until(() => server.lines.find((line) => 'problems' in line))
    t.regex(String(lost['problems']), /server\.htpasswd/)
    t.is((await server.ask({ path: '/v2/' })).status, 401)
    await writeFile(file, good)
    const clients = await server.connect(2)
    t.true((await server.workerPids()).includes(present(survivor)))
    await until(async () => (await askAs(present(clients[0]), 'alice:secret')) === 200)
    for (const client of clients) client[Symbol.dispose]()
  },
)

test.serial(
  'workers: a password that takes long to verify keeps nobody else waiting',
  async (t) => {
    await using server = await startSeveralWorkers({
      config: htpasswd('FOLDER/htpasswd'),
      files: {
        htpasswd: `slow:${hashPassword('secret', 13)}\nquick:${hashPassword('secret', 4)}\n`,
      },
    })
    const clients = await server.connect(2)
    for (const client of clients) t.is(await askAs(client, 'quick:secret'), 200)
    const others = await server.connect(2)
    const ended: string[] = []
    const slow = others.map(async (client) => {
      t.is(await askAs(client, 'slow:secret'), 200)
      ended.push('slow')
    })
    for (const client of clients) {
      for (let i = 0; i < 5; i += 1) t.is(await askAs(client, 'quick:secret'), 200)
      ended.push('quick')
    }
    await Promise.all(slow)
    t.deepEqual(ended, ['quick', 'quick', 'slow', 'slow'])
    for (const client of [...clients, ...others]) client[Symbol.dispose]()
  },
)

/** The first half of an upload of ten bytes, which has left. */
async function beginUpload(client: Client): Promise<ClientRequest> {
  const start = client.begin({ method: 'POST', path: '/v2/a/blobs/uploads/' })
  start.end()
  const [started] = await once(start, 'response')
  await started.toArray()
  const { pathname, search } = new URL(started.headers.location)
  const upload = client.begin({
    method: 'PATCH',
    path: pathname + search,
    headers: { 'Content-Length': 10, 'Content-Type': 'application/octet-stream' },
  })
  upload.write('01234')
  await until(() => upload.writableLength === 0 && upload.socket?.writableLength === 0)
  return upload
}

test.serial(
  'workers: a connection that was on its way when the primary was killed costs no transfer',
  async (t) => {
    await using server = await startSeveralWorkers()
    const clients = await server.connect(2)
    const pids = await server.workerPids()
    const uploads = await Promise.all(clients.map(beginUpload))
    // So that connections wait between the processes.
    for (const pid of pids) process.kill(pid, 'SIGSTOP')
    const late = Array.from({ length: 4 }, () => net.connect(server.port, '127.0.0.1'))
    for (const socket of late) socket.on('error', () => {})
    await Promise.all(late.map((socket) => once(socket, 'connect')))
    await server.kill()
    for (const pid of pids) process.kill(pid, 'SIGCONT')
    await delay(2000)
    for (const upload of uploads) {
      upload.end('56789')
      const [res] = await once(upload, 'response')
      t.is(res.statusCode, 202)
      await res.toArray()
    }
    for (const socket of late) socket.destroy()
    for (const client of clients) client[Symbol.dispose]()
    await until(() => !pids.some(isThere))
  },
)

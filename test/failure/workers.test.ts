import { execFile, spawn } from 'node:child_process'
import { createHash, randomBytes, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempDisposable, readFile, rename, writeFile } from 'node:fs/promises'
import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TLSSocket } from 'node:tls'
import { promisify } from 'node:util'
import test from 'ava'
import { hashPassword } from '../../src/auth/password-hash.ts'
import { startHttpBackend } from '../support/backends.ts'
import { startServerProcess } from '../support/server-process.ts'
import {
  type Client,
  isThere,
  type SeveralWorkers,
  startSeveralWorkers,
  until,
} from '../support/several-workers.ts'
import { makePair } from '../unit/tls/openssl.ts'

const run = promisify(execFile)
const digestOf = (bytes: Buffer): string =>
  `sha256:${createHash('sha256').update(bytes).digest('hex')}`

/** A backend of which each answer has begun, and ends when it is told to. */
async function startHeldBackend() {
  const answers: ServerResponse[] = []
  const backend = await startHttpBackend((req, res) => {
    if (req.url === '/v2/') return void res.end('{}')
    res.writeHead(200, { 'content-length': 6 })
    res.write('abc')
    answers.push(res)
  })
  const finish = (): void => {
    for (const answer of answers) answer.end('def')
  }
  return { ...backend, finish }
}

/** A download of which the first half is there. */
async function beginDownload(client: Client): Promise<IncomingMessage> {
  const req = client.begin({ path: '/v2/a/manifests/latest' })
  req.end()
  const [res] = await once(req, 'response')
  return res
}

const forwarding = (url: string): string => `auth: none\nupstream: {url: '${url}'}\n`

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
  process.kill(before[one.worker - 1] ?? 0, 'SIGKILL')
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
  const [one = 0, other = 0] = pids
  process.kill(one, 'SIGKILL')
  await t.notThrowsAsync(Promise.race(closed))
  process.kill(other, 'SIGCONT')
  for (const client of await server.connect(2)) client[Symbol.dispose]()
  for (const socket of waiting) socket.destroy()
})

test('workers: SIGTERM lets the transfers of all finish, and ends with 0', async (t) => {
  await using backend = await startHeldBackend()
  await using server = await startSeveralWorkers({
    config: forwarding(backend.url),
    http: "debug: {addr: '127.0.0.1:0'}",
  })
  const debug = server.lines.find(({ msg }) => msg === 'debug server listening')?.['url']
  const clients = await server.connect(2)
  const downloads = await Promise.all(clients.map(beginDownload))
  const ended = server.stop()
  await until(() => server.lines.find(({ msg }) => String(msg).startsWith('stopping')))
  const [ready] = (await once(http.get(`${debug}/readyz`), 'response')) as [IncomingMessage]
  t.is(ready.statusCode, 503)
  const refused = await until(() => server.ask({ path: '/v2/' }).catch((error) => error))
  t.is(refused.code, 'ECONNREFUSED')
  backend.finish()
  for (const download of downloads) {
    t.is(String(Buffer.concat(await download.toArray())), 'abcdef')
  }
  t.is(await ended, 0)
  t.is(server.lines.at(-1)?.['msg'], 'stopped')
  t.false(server.lines.some(({ level }) => level === 'warn'))
})

test('workers: a signal for the whole group, as of a terminal, is the same', async (t) => {
  await using backend = await startHeldBackend()
  await using server = await startSeveralWorkers({ config: forwarding(backend.url) })
  const clients = await server.connect(2)
  const downloads = await Promise.all(clients.map(beginDownload))
  for (const pid of await server.workerPids()) process.kill(pid, 'SIGINT')
  process.kill(server.pid, 'SIGINT')
  await until(() => server.lines.find(({ msg }) => String(msg).startsWith('stopping')))
  backend.finish()
  for (const download of downloads) {
    t.is(String(Buffer.concat(await download.toArray())), 'abcdef')
  }
  await until(() => server.lines.find(({ msg }) => msg === 'stopped'))
  t.is(await server.stop(), 0)
})

test('workers: a second signal ends all at once, with 1', async (t) => {
  await using backend = await startHeldBackend()
  await using server = await startSeveralWorkers({ config: forwarding(backend.url) })
  const pids = await server.workerPids()
  const [client] = await server.connect(1)
  if (client === undefined) throw new Error('there is one')
  const download = await beginDownload(client)
  const broken = t.throwsAsync(download.toArray())
  process.kill(server.pid, 'SIGTERM')
  await until(() => server.lines.find(({ msg }) => String(msg).startsWith('stopping')))
  t.is(await server.stop(), 1)
  await broken
  await until(() => !pids.some(isThere))
  t.pass()
})

test('workers: when the primary is killed they finish what they have and go, and the port is free', async (t) => {
  await using backend = await startHeldBackend()
  await using server = await startSeveralWorkers({ config: forwarding(backend.url) })
  const pids = await server.workerPids()
  const clients = await server.connect(2)
  const downloads = await Promise.all(clients.map(beginDownload))
  await server.kill()
  const refused = await server.ask({ path: '/v2/' }).catch((error) => error)
  t.is(refused.code, 'ECONNREFUSED')
  t.true(pids.every(isThere))
  backend.finish()
  for (const download of downloads) {
    t.is(String(Buffer.concat(await download.toArray())), 'abcdef')
  }
  await until(() => !pids.some(isThere))
  t.pass()
})

test('workers: a session of uploads goes on wherever its requests arrive', async (t) => {
  await using server = await startSeveralWorkers({ workers: 3 })
  const pieces = Array.from({ length: 4 }, () => randomBytes(300_000))
  const bytes = Buffer.concat(pieces)
  const answers = [await server.ask({ method: 'POST', path: '/v2/a/blobs/uploads/' })]
  const location = (): string => {
    const { pathname, search } = new URL(String(answers.at(-1)?.headers.location))
    return pathname + search
  }
  for (const [index, body] of pieces.entries()) {
    const first = index * body.length
    const headers = {
      'content-length': body.length,
      'content-range': `${first}-${first + body.length - 1}`,
    }
    answers.push(await server.ask({ method: 'PATCH', path: location(), headers, body }))
  }
  const end = new URL(location(), server.url)
  end.searchParams.set('digest', digestOf(bytes))
  answers.push(await server.ask({ method: 'PUT', path: end.pathname + end.search }))
  t.deepEqual(
    answers.map(({ status }) => status),
    [202, 202, 202, 202, 202, 201],
  )
  t.true(new Set(answers.map(({ worker }) => worker)).size > 1)
  const pulled = await server.ask({ path: `/v2/a/blobs/${digestOf(bytes)}` })
  t.true(pulled.body.equals(bytes))
})

test('workers: lines of several are whole in one log, and none is missing', async (t) => {
  await using server = await startSeveralWorkers({ workers: 3 })
  const clients = await server.connect(3)
  const before = server.lines.length
  const count = 700
  const userAgent = 'ä'.repeat(200)
  const askOften = async (client: Client): Promise<void> => {
    for (let left = count; left > 0; left -= 1) {
      const headers = { 'user-agent': Buffer.from(userAgent).toString('latin1') }
      const req = client.begin({ path: '/v2/', headers })
      req.end()
      const [res] = await once(req, 'response')
      await res.resume().toArray()
    }
  }
  await Promise.all(clients.map(askOften))
  for (const client of clients) client[Symbol.dispose]()
  t.is(await server.stop(), 0)
  const requests = server.lines.slice(before).filter(({ msg }) => msg === 'request')
  t.is(requests.length, 3 * count)
  t.is(new Set(requests.map(({ requestId }) => requestId)).size, 3 * count)
})

test('workers: a socket file that was left behind is replaced once, and all serve on it', async (t) => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'tidegate-'))
  const path = join(folder.path, 'registry.sock')
  const script = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`
  await once(spawn(process.execPath, ['-e', script]), 'exit')
  const config = join(folder.path, 'config.yml')
  await writeFile(
    config,
    `version: 0.1
workers: 3
http: {addr: 'unix:${path}'}
auth: none
storage: {filesystem: {rootdirectory: '${folder.path}/store'}}
`,
  )
  await using server = await startServerProcess(config)
  const ids: unknown[] = []
  const ask = async (): Promise<void> => {
    const req = http.get({ socketPath: path, path: '/v2/', agent: false })
    const [res] = await once(req, 'response')
    await res.resume().toArray()
    ids.push(res.headers['x-request-id'])
  }
  for (let left = 9; left > 0; left -= 1) await ask()
  const lineOf = (id: unknown) => server.lines.find(({ requestId }) => requestId === id)
  const lines = await Promise.all(ids.map((id) => until(() => lineOf(id))))
  t.is(new Set(lines.map(({ worker }) => worker)).size, 3)
  t.is(await server.stop(), 0)
})

/** What a client that has just shaken hands with each of two workers saw. */
async function lookAtBoth<T>(
  server: SeveralWorkers,
  look: (socket: TLSSocket) => T,
  session?: Buffer,
): Promise<T[]> {
  const clients = await server.connect(2, session)
  const seen = clients.map(({ socket }) => look(socket))
  for (const client of clients) client[Symbol.dispose]()
  return seen
}

test('workers: a TLS session that one began is resumed by all, until the certificate changes', async (t) => {
  await using server = await startSeveralWorkers()
  const [first] = await server.connect(1)
  if (first === undefined) throw new Error('there is one')
  const session = await first.session
  first[Symbol.dispose]()
  t.deepEqual(await lookAtBoth(server, (socket) => socket.isSessionReused(), session), [true, true])

  const next = await makePair(server.folder, 'next', {})
  const serial = new X509Certificate(await readFile(next.certificate)).serialNumber
  await rename(next.key, join(server.folder, 'server.key'))
  await rename(next.certificate, join(server.folder, 'server.crt'))
  await until(() => server.lines.filter(({ msg }) => msg === 'new certificate in use').length === 2)
  const serials = await lookAtBoth(
    server,
    (socket) => socket.getPeerX509Certificate()?.serialNumber,
  )
  t.deepEqual(serials, [serial, serial])
  t.deepEqual(await lookAtBoth(server, (socket) => socket.isSessionReused(), session), [
    false,
    false,
  ])
})

test('workers: a password is hashed once for all, and a change of the file reaches all', async (t) => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'tidegate-'))
  const htpasswd = join(folder.path, 'htpasswd')
  await writeFile(htpasswd, `alice:${hashPassword('secret', 4)}\n`)
  await using server = await startSeveralWorkers({
    http: "debug: {addr: '127.0.0.1:0', prometheus: {enabled: true}}",
    config: `auth: {htpasswd: {realm: r, path: '${htpasswd}'}}
storage: {filesystem: {rootdirectory: FOLDER/store}}
`,
  })
  const debug = server.lines.find(({ msg }) => msg === 'debug server listening')?.['url']
  const ask = (password: string) => server.ask({ path: '/v2/', auth: `alice:${password}` })
  const answers = [await ask('secret')]
  while (new Set(answers.map(({ worker }) => worker)).size < 2) answers.push(await ask('secret'))
  t.true(answers.every(({ status }) => status === 200))
  const [res] = (await once(http.get(`${debug}/metrics`), 'response')) as [IncomingMessage]
  const text = String(Buffer.concat(await res.toArray()))
  t.regex(text, /^tidegate_password_verifications_total\{outcome="right"\} 1$/m)
  t.regex(text, new RegExp(`^tidegate_requests_total\\{.*200.*\\} ${answers.length}$`, 'm'))

  await writeFile(htpasswd, `alice:${hashPassword('changed', 4)}\n`)
  await until(() => server.lines.filter(({ msg }) => msg === 'htpasswd file reloaded').length === 2)
  const later = [await ask('secret')]
  while (new Set(later.map(({ worker }) => worker)).size < 2) later.push(await ask('secret'))
  t.true(later.every(({ status }) => status === 401))
  t.is((await ask('changed')).status, 200)
})

import { spawn } from 'node:child_process'
import { createHash, randomBytes, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempDisposable, readFile, rename, writeFile } from 'node:fs/promises'
import http, { type IncomingMessage } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TLSSocket } from 'node:tls'
import test from 'ava'
import { hashPassword } from '../../src/auth/password-hash.ts'
import { startServerProcess } from '../support/server-process.ts'
import {
  type Client,
  type SeveralWorkers,
  startSeveralWorkers,
  until,
} from '../support/several-workers.ts'
import { makePair } from '../unit/tls/openssl.ts'

const digestOf = (bytes: Buffer): string =>
  `sha256:${createHash('sha256').update(bytes).digest('hex')}`

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

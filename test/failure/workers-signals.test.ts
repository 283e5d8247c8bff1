import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempDisposable, writeFile } from 'node:fs/promises'
import http, { type IncomingMessage } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { beginDownload, forwarding, startHeldBackend } from '../support/held-backend.ts'
import { isThere } from '../support/process-tree.ts'
import { childrenOf, startSeveralWorkers, until } from '../support/several-workers.ts'

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

test('workers: SIGTERM while they start ends with 0, without a word', async (t) => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'tidegate-'))
  const config = join(folder.path, 'config.yml')
  await writeFile(
    config,
    `version: 0.1
workers: 2
http: {addr: '127.0.0.1:0'}
auth: none
storage: {filesystem: {rootdirectory: '${folder.path}/store'}}
`,
  )
  const child = spawn(process.execPath, ['src/cli.ts', 'serve', config])
  // When nobody has its output any more, workers included.
  const closed = once(child, 'close')
  const written = Promise.all([child.stdout.toArray(), child.stderr.toArray()])
  await until(async () => (await childrenOf(Number(child.pid))).length === 2)
  child.kill('SIGTERM')
  t.deepEqual(await closed, [0, null])
  t.deepEqual((await written).flat().map(String), [])
})

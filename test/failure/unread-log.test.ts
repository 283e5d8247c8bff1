import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { constants, mkdtempDisposable, open } from 'node:fs/promises'
import http from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import test, { type ExecutionContext } from 'ava'
import { startHttpBackend } from '../support/backends.ts'

type Front = { readonly child: ChildProcess; ask(): Promise<number> }

/** Tidegate with `stdout` as its standard output; waits until it answers. */
async function start(
  t: ExecutionContext,
  upstream: string,
  stdout: 'pipe' | number,
): Promise<Front> {
  await using taken = await startHttpBackend(() => {})
  const { port } = taken
  await taken[Symbol.asyncDispose]()
  const args = ['src/cli.ts', 'serve', '--upstream', upstream, '--addr', `127.0.0.1:${port}`]
  const child = spawn(process.execPath, args, { stdio: ['ignore', stdout, 'inherit'] })
  // Paused before anything came: the pipe holds some 64 KiB and then is full.
  child.stdout?.pause()
  const agent = new http.Agent({ keepAlive: true, maxSockets: 4 })
  t.teardown(() => {
    agent.destroy()
    child.kill('SIGKILL')
  })
  const ask = async (): Promise<number> => {
    const [res] = await once(http.get({ agent, port, host: '127.0.0.1', path: '/v2/' }), 'response')
    res.resume()
    await once(res, 'end')
    return res.statusCode
  }
  while ((await ask().catch(() => 0)) !== 200)
    await new Promise((resolve) => setTimeout(resolve, 50))
  return { child, ask }
}

const count = 2000

async function askOften(t: ExecutionContext, ask: () => Promise<number>): Promise<void> {
  for (let done = 0; done < count; done += 4) {
    t.deepEqual(await Promise.all([ask(), ask(), ask(), ask()]), [200, 200, 200, 200])
  }
}

test('log: a reader that stands still holds up neither requests nor their records', async (t) => {
  await using backend = await startHttpBackend((_, res) => void res.end('{}'))
  const { child, ask } = await start(t, backend.url, 'pipe')
  await askOften(t, ask)
  let output = ''
  child.stdout?.on('data', (bytes) => {
    output += bytes
  })
  child.stdout?.resume()
  child.kill('SIGTERM')
  const [code] = await once(child, 'close')
  t.is(code, 0)
  const records = output.split('\n').filter((line) => line.includes('"msg":"request"'))
  t.true(records.length > count, `${records.length} records`)
})

test('log: a pipe that nobody reads any more does not keep the process from ending', async (t) => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'tidegate-log-'))
  const path = join(folder.path, 'log')
  await promisify(execFile)('mkfifo', [path])
  await using pipe = await open(path, 'r+')
  await using backend = await startHttpBackend((_, res) => void res.end('{}'))
  const { child, ask } = await start(t, backend.url, pipe.fd)
  await askOften(t, ask)
  child.kill('SIGTERM')
  const [code] = await once(child, 'exit')
  t.is(code, 0)
})

test('log: a reader that has gone before the last lines does not keep the process from ending', async (t) => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'tidegate-log-'))
  const path = join(folder.path, 'log')
  await promisify(execFile)('mkfifo', [path])
  const reader = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
  const writer = await open(path, 'w')
  await using backend = await startHttpBackend((_, res) => void res.end('{}'))
  const { child } = await start(t, backend.url, writer.fd)
  await writer.close()
  await reader.close()
  const exited = once(child, 'exit')
  child.kill('SIGTERM')
  t.deepEqual(await exited, [0, null])
})

test('log: a disk that is full stops neither the server nor its end', async (t) => {
  await using full = await open('/dev/full', 'w')
  await using backend = await startHttpBackend((_, res) => void res.end('{}'))
  const { child, ask } = await start(t, backend.url, full.fd)
  t.is(await ask(), 200)
  const exited = once(child, 'exit')
  child.kill('SIGTERM')
  t.deepEqual(await exited, [0, null])
})

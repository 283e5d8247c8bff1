import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { lstat, mkdtempDisposable, readFile, writeFile } from 'node:fs/promises'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { StartupError } from '../../../src/lib/startup-error.ts'
import { listen, urlOf } from '../../../src/server/listen.ts'
import { startListener } from './support.ts'

async function problemOf(options: net.ListenOptions): Promise<string> {
  try {
    await listen(net.createServer(), options)
  } catch (error) {
    if (error instanceof StartupError) return error.problems.join('|')
    throw error
  }
  return 'it listens'
}

test('listen: an address in use is one line with address and remedy', async (t) => {
  await using subject = await startListener()
  const { port } = subject
  t.regex(
    await problemOf({ host: '127.0.0.1', port }),
    new RegExp(
      `^http\\.addr 127\\.0\\.0\\.1:${port}: another process listens there already; .*address$`,
    ),
  )
})

test('listen: an address that this machine does not have is one line', async (t) => {
  t.regex(
    await problemOf({ host: '192.0.2.1', port: 0 }),
    /^http\.addr 192\.0\.2\.1:0: this machine has no such address$/,
  )
  t.regex(
    await problemOf({ host: 'host.invalid', port: 0 }),
    /host\.invalid:0: this machine has no such address|EAI_AGAIN/,
  )
})

test('listen: a folder for a socket file that does not exist is a StartupError that names it', async (t) => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'tidegate-listen-'))
  const path = join(folder.path, 'absent', 'registry.sock')
  t.true((await problemOf({ path })).startsWith(`http.addr ${path}: `))
})

for (const [options, url] of [
  [{ host: '127.0.0.1', port: 0 }, /^http:\/\/127\.0\.0\.1:[1-9]\d*$/],
  [{ host: '::1', port: 0 }, /^http:\/\/\[::1\]:[1-9]\d*$/],
] as const) {
  test(`listen: the URL of ${options.host} has the real port`, async (t) => {
    const server = net.createServer()
    await listen(server, options)
    t.regex(urlOf(server, 'http'), url)
    server.close()
    await once(server, 'close')
  })
}

test('listen: a socket file has a URL too', async (t) => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'tidegate-listen-'))
  const path = join(folder.path, 'registry.sock')
  const server = net.createServer()
  await listen(server, { path })
  t.is(urlOf(server, 'http'), `unix:${path}`)
  server.close()
  await once(server, 'close')
})

test('listen: the socket file that a killed process left behind is replaced', async (t) => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'tidegate-listen-'))
  const path = join(folder.path, 'registry.sock')
  const script = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`
  await once(spawn(process.execPath, ['-e', script]), 'exit')
  const server = net.createServer()
  await listen(server, { path })
  t.is(urlOf(server, 'http'), `unix:${path}`)
  t.regex(await problemOf({ path }), /another process listens there already/)
  server.close()
  await once(server, 'close')
})

test('listen: a file that is not a socket is never removed', async (t) => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'tidegate-listen-'))
  const path = join(folder.path, 'registry.sock')
  await writeFile(path, 'precious')
  t.regex(await problemOf({ path }), /a file is in the way/)
  t.is(await readFile(path, 'utf8'), 'precious')
})

test('listen: a socket file on which somebody listens, but does not accept, is left alone', async (t) => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'tidegate-listen-'))
  const path = join(folder.path, 'registry.sock')
  const busy = spawn('python3', [
    '-c',
    `import socket,time\ns=socket.socket(socket.AF_UNIX)\ns.bind(${JSON.stringify(path)})\ns.listen(0)\nprint("up",flush=True)\ntime.sleep(60)`,
  ])
  await once(busy.stdout, 'data')
  // One connection waits to be accepted and fills the line: the next is told to try again.
  const waiting = [net.connect(path), net.connect(path)]
  for (const socket of waiting) socket.on('error', () => {})
  await once(waiting[0] ?? busy, 'connect')
  t.regex(await problemOf({ path }), /another process listens there already/)
  t.true((await lstat(path)).isSocket())
  for (const socket of waiting) socket.destroy()
  busy.kill()
})

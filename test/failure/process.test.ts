import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempDisposable, readdir, readFile, writeFile } from 'node:fs/promises'
import http from 'node:http'
import https from 'node:https'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import test, { type ExecutionContext } from 'ava'
import bcrypt from 'bcryptjs'
import { startHttpBackend, startRawBackend } from '../support/backends.ts'
import { serverPair } from '../support/front.ts'

type Running = {
  readonly child: ChildProcess
  readonly output: () => string
  readonly exit: Promise<{ code: number | null; stderr: string }>
  /** The log line with this message. */
  line(msg: string): Promise<Record<string, string>>
  /** The line of its output that this matches. */
  text(pattern: RegExp): Promise<string>
}

/** Runs the command as a user does, in an environment without REGISTRY_ variables but those given. */
function run(t: ExecutionContext, args: string[], env: Record<string, string> = {}): Running {
  const child = spawn(process.execPath, ['src/cli.ts', ...args], {
    env: { PATH: process.env['PATH'], ...coverage(), ...env },
  })
  t.teardown(() => child.kill('SIGKILL'))
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', (chunk) => {
    stdout += chunk
  })
  child.stderr.on('data', (chunk) => {
    stderr += chunk
  })
  const exit = once(child, 'close').then(([code]) => ({ code, stderr }))
  const find = async (isWanted: (line: string) => boolean): Promise<string> => {
    for (;;) {
      const found = stdout.split('\n').slice(0, -1).find(isWanted)
      if (found !== undefined) return found
      const hasEnded = child.exitCode !== null || child.signalCode !== null
      if (hasEnded) throw new Error(`it ended: ${stderr}`)
      await Promise.race([once(child.stdout, 'data'), exit])
    }
  }
  return {
    child,
    output: () => stdout,
    exit,
    line: async (msg) => JSON.parse(await find((line) => line.includes(`"msg":"${msg}`))),
    text: (pattern) => find((line) => pattern.test(line)),
  }
}

function coverage(): Record<string, string> {
  const directory = process.env['NODE_V8_COVERAGE']
  return directory === undefined ? {} : { NODE_V8_COVERAGE: directory }
}

async function makeFiles(t: ExecutionContext): Promise<string> {
  const directory = await mkdtempDisposable(join(tmpdir(), 'tidegate-'))
  t.teardown(() => directory.remove())
  await writeFile(join(directory.path, 'domain.crt'), serverPair.cert)
  await writeFile(join(directory.path, 'domain.key'), serverPair.key)
  await writeFile(join(directory.path, 'htpasswd'), `alice:${bcrypt.hashSync('secret', 4)}\n`)
  return directory.path
}

function get(url: string, options: https.RequestOptions = {}): Promise<http.IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<http.IncomingMessage>()
  const client = url.startsWith('https') ? https : http
  client.get(url, { ca: serverPair.ca, agent: false, ...options }, resolve).on('error', reject)
  return promise
}

async function freePort(): Promise<number> {
  await using backend = await startHttpBackend(() => {})
  return backend.port
}

test("serve: the usual article's variables are enough, with no file at all", async (t) => {
  const files = await makeFiles(t)
  await using backend = await startHttpBackend((_, res) => void res.end('{}'))
  const front = run(t, ['serve'], {
    REGISTRY_HTTP_ADDR: '127.0.0.1:0',
    REGISTRY_HTTP_TLS_CERTIFICATE: join(files, 'domain.crt'),
    REGISTRY_HTTP_TLS_KEY: join(files, 'domain.key'),
    REGISTRY_AUTH: 'htpasswd',
    REGISTRY_AUTH_HTPASSWD_REALM: 'Registry Realm',
    REGISTRY_AUTH_HTPASSWD_PATH: join(files, 'htpasswd'),
    REGISTRY_UPSTREAM_URL: backend.url,
  })
  const { url = '' } = await front.line('listening')
  const anonymous = await get(`${url}/v2/`)
  t.is(anonymous.statusCode, 401)
  t.regex(anonymous.headers['www-authenticate'] ?? '', /^Basic realm="Registry Realm"/)
  t.is((await get(`${url}/v2/`, { auth: 'alice:wrong' })).statusCode, 401)
  t.is((await get(`${url}/v2/`, { auth: 'alice:secret' })).statusCode, 200)
  front.child.kill('SIGTERM')
  t.is((await front.exit).code, 0)
  t.notRegex(front.output(), /secret|wrong/)
})

test('serve: SIGTERM lets a transfer finish, refuses what is new, and ends with 0', async (t) => {
  const finish = Promise.withResolvers<void>()
  await using backend = await startHttpBackend(async (_, res) => {
    res.writeHead(200, { 'content-length': 6 })
    res.write('abc')
    await finish.promise
    res.end('def')
  })
  const front = run(t, ['serve', '--upstream', backend.url, '--addr', '127.0.0.1:0'], {
    REGISTRY_HTTP_DEBUG_ADDR: '127.0.0.1:0',
  })
  const { url = '' } = await front.line('listening')
  const { url: debugUrl = '' } = await front.line('debug server listening')
  t.is((await get(`${debugUrl}/healthz`)).statusCode, 200)
  const download = await get(`${url}/v2/a/manifests/latest`)
  download.setEncoding('utf8')
  const [first] = await once(download, 'data')
  front.child.kill('SIGTERM')
  await front.line('stopping')
  t.is((await get(`${debugUrl}/readyz`)).statusCode, 503)
  t.is((await get(`${debugUrl}/healthz`)).statusCode, 200)
  const [refused] = await once(connect(Number(new URL(url).port), '127.0.0.1'), 'error')
  t.is(refused.code, 'ECONNREFUSED')
  finish.resolve()
  const [rest] = await once(download, 'data')
  t.is(first + rest, 'abcdef')
  t.is((await front.exit).code, 0)
})

test('serve: a transfer over TLS finishes too, however long it takes after SIGTERM', async (t) => {
  const files = await makeFiles(t)
  const finish = Promise.withResolvers<void>()
  await using backend = await startHttpBackend(async (_, res) => {
    res.writeHead(200, { 'content-length': 6 })
    res.write('abc')
    await finish.promise
    res.end('def')
  })
  const front = run(t, ['serve', '--upstream', backend.url, '--addr', '127.0.0.1:0'], {
    REGISTRY_HTTP_TLS_CERTIFICATE: join(files, 'domain.crt'),
    REGISTRY_HTTP_TLS_KEY: join(files, 'domain.key'),
  })
  const { url = '' } = await front.line('listening')
  const silent = connectTls({
    port: Number(new URL(url).port),
    host: '127.0.0.1',
    ca: serverPair.ca,
    servername: 'localhost',
  })
  await once(silent, 'secureConnect')
  const download = await get(`${url}/v2/a/manifests/latest`)
  download.setEncoding('utf8')
  const [first] = await once(download, 'data')
  front.child.kill('SIGTERM')
  // A connection on which nothing was asked is closed a second into the drain: time has passed.
  silent.resume()
  await once(silent, 'close')
  finish.resolve()
  const [rest] = await once(download, 'data')
  t.is(first + rest, 'abcdef')
  t.is((await front.exit).code, 0)
  t.notRegex(front.output(), /cut off/)
})

test('serve: a slow reader gets all of its answer, though the upstream finished long ago', async (t) => {
  const size = 8 * 1024 * 1024
  const sent = Promise.withResolvers<void>()
  await using backend = await startHttpBackend((_, res) => {
    res.writeHead(200, { 'content-length': size })
    res.end(Buffer.alloc(size), () => sent.resolve())
  })
  const front = run(t, ['serve', '--upstream', backend.url, '--addr', '127.0.0.1:0'])
  const { url = '' } = await front.line('listening')
  const download = await get(`${url}/v2/a/manifests/latest`)
  let received = 0
  const read = (): void => {
    const piece = download.read()
    received += piece?.length ?? 0
  }
  const reading = setInterval(read, 2)
  await sent.promise
  front.child.kill('SIGTERM')
  await once(download, 'end')
  clearInterval(reading)
  t.is(received, size)
  t.is((await front.exit).code, 0)
  t.regex(front.output(), new RegExp(`"bytesOut":${size}`))
  t.notRegex(front.output(), /cut off/)
})

test('serve: signals that mean reload elsewhere neither end it nor open a debugger', async (t) => {
  await using backend = await startHttpBackend((_, res) => void res.end('{}'))
  const front = run(t, ['serve', '--upstream', backend.url, '--addr', '127.0.0.1:0'])
  const { url = '' } = await front.line('listening')
  for (const signal of ['SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const) {
    front.child.kill(signal)
    await front.line('nothing to do')
    t.is((await get(`${url}/v2/`)).statusCode, 200)
  }
  front.child.kill('SIGTERM')
  const { code, stderr } = await front.exit
  t.is(code, 0)
  t.notRegex(stderr, /Debugger listening/)
})

test('serve: the drain time cuts off what has not finished by then, and still ends with 0', async (t) => {
  await using backend = await startRawBackend((socket) => {
    socket.once('data', () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc'))
  })
  const front = run(t, ['serve', '--upstream', backend.url, '--addr', '127.0.0.1:0'], {
    REGISTRY_HTTP_DRAINTIMEOUT: '100ms',
  })
  const { url = '' } = await front.line('listening')
  const download = await get(`${url}/v2/a/manifests/latest`)
  front.child.kill('SIGTERM')
  await t.throwsAsync(once(download.resume(), 'end'), { code: 'ECONNRESET' })
  t.is((await front.exit).code, 0)
  t.regex(front.output(), /connections cut off/)
})

test('serve: a second signal ends it at once, with 1', async (t) => {
  await using backend = await startRawBackend((socket) => {
    socket.once('data', () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc'))
  })
  const front = run(t, ['serve', '--upstream', backend.url, '--addr', '127.0.0.1:0'])
  const { url = '' } = await front.line('listening')
  const download = await get(`${url}/v2/a/manifests/latest`)
  download.on('error', () => {})
  front.child.kill('SIGINT')
  await front.line('stopping')
  front.child.kill('SIGTERM')
  t.is((await front.exit).code, 1)
})

test('serve: every problem is one line, the exit code is 78, and nothing was started', async (t) => {
  const files = await makeFiles(t)
  await writeFile(join(files, 'htpasswd'), 'alice:plain\n')
  await writeFile(
    join(files, 'config.yml'),
    `version: 0.1
http: {addr: '127.0.0.1:0', tls: {certificate: ${files}/missing.crt, key: ${files}/missing.key}}
auth: {htpasswd: {realm: r, path: ${files}/htpasswd}}
upstream: {url: 'http://127.0.0.1:1'}
`,
  )
  for (const command of ['serve', 'check']) {
    const front = run(t, [command, join(files, 'config.yml')])
    const { code, stderr } = await front.exit
    t.is(code, 78)
    const problems = stderr.split('\n').filter((line) => line.startsWith('tidegate: '))
    t.is(problems.length, 3, stderr)
    t.regex(stderr, /http\.tls\.certificate: .*missing\.crt does not exist/)
    t.regex(stderr, /http\.tls\.key: .*missing\.key does not exist/)
    t.regex(stderr, /auth\.htpasswd\.path.*htpasswd/)
    t.notRegex(front.output(), /listening/)
  }
})

test('serve: an address that is taken is one line and 78', async (t) => {
  await using backend = await startHttpBackend(() => {})
  const front = run(t, ['serve', '--upstream', backend.url, '--addr', `127.0.0.1:${backend.port}`])
  const { code, stderr } = await front.exit
  t.is(code, 78)
  t.regex(stderr, /^tidegate: http\.addr 127\.0\.0\.1:[0-9]+: another process listens there/)
})

test('check: prints what is in effect, secrets masked, and ends with 0', async (t) => {
  const files = await makeFiles(t)
  const check = run(t, ['check', 'conf/config.yml'], {
    REGISTRY_HTTP_TLS_CERTIFICATE: join(files, 'domain.crt'),
    REGISTRY_HTTP_TLS_KEY: join(files, 'domain.key'),
    REGISTRY_AUTH_HTPASSWD_PATH: join(files, 'htpasswd'),
    REGISTRY_HTTP_SECRET: 'topsecret',
  })
  const { code, stderr } = await check.exit
  t.is(code, 0, stderr)
  t.regex(check.output(), /url: http:\/\/registry:5000/)
  t.notRegex(check.output() + stderr, /topsecret/)
})

test('check: takes the options of serve, and warns of an open registry as serve does', async (t) => {
  const args = ['--upstream', 'http://127.0.0.1:1', '--addr', '127.0.0.1:0']
  const check = run(t, ['check', ...args])
  const { code, stderr } = await check.exit
  t.is(code, 0, stderr)
  t.regex(check.output(), /addr: 127\.0\.0\.1:0/)
  t.regex(stderr, /^warning: auth: nobody is asked for a password/m)
  const front = run(t, ['serve', ...args])
  await front.line('listening')
  t.regex(front.output(), /"msg":"auth: nobody is asked for a password/)
})

test('check: a password file for the backend that is missing or empty is one line', async (t) => {
  const files = await makeFiles(t)
  const passwordfile = join(files, 'password')
  for (const expected of [/password does not exist; check the path/, /password is empty; write/]) {
    const { code, stderr } = await run(t, ['check', '--upstream', 'http://127.0.0.1:1'], {
      REGISTRY_UPSTREAM_AUTHORIZATION: `{username: a, passwordfile: ${passwordfile}}`,
    }).exit
    t.is(code, 78)
    t.regex(stderr, /^tidegate: upstream\.authorization\.passwordfile: /m)
    t.regex(stderr, expected)
    await writeFile(passwordfile, '\n')
  }
})

test('quickstart: variables and the file they name change nothing', async (t) => {
  const files = await makeFiles(t)
  const directory = join(files, 'data')
  await writeFile(join(files, 'other.yml'), 'cors: {origins: [https://ui.example]}\n')
  const front = run(
    t,
    ['quickstart', '--directory', directory, '--addr', `127.0.0.1:${await freePort()}`],
    { REGISTRY_PASSWORD: 'x', REGISTRY_CONFIGURATION_PATH: join(files, 'other.yml') },
  )
  const { url = '' } = await front.line('listening')
  const ca = await readFile(join(directory, 'ca.crt'))
  const { headers } = await get(`${url}/v2/`, { ca, headers: { origin: 'https://ui.example' } })
  t.is(headers['access-control-allow-origin'], undefined)
})

test('quickstart: the password is printed although the port is taken', async (t) => {
  const directory = join(await makeFiles(t), 'data')
  await using taken = await startHttpBackend(() => {})
  const args = ['quickstart', '--directory', directory, '--addr', `127.0.0.1:${taken.port}`]
  const front = run(t, args)
  const { code, stderr } = await front.exit
  t.is(code, 78)
  t.regex(stderr, /another process listens there/)
  t.notRegex(front.output(), /Tidegate serves/)
  const password = /password +(\S+)/.exec(front.output())?.[1] ?? ''
  const [, hash = ''] = (await readFile(join(directory, 'htpasswd'), 'utf8')).trimEnd().split(':')
  t.true(await bcrypt.compare(password, hash))
})

test('quickstart: makes its folder, prints the password once, serves, and keeps all of it', async (t) => {
  const directory = join(await makeFiles(t), 'data')
  await using backend = await startHttpBackend((_, res) => void res.end('{}'))
  const args = [
    'quickstart',
    '--directory',
    directory,
    '--addr',
    `127.0.0.1:${await freePort()}`,
    '--upstream',
    backend.url,
  ]
  const first = run(t, args)
  const { url = '' } = await first.line('listening')
  await first.text(/docker push/)
  const password = /password +(\S+)/.exec(first.output())?.[1]
  t.truthy(password)
  t.regex(first.output(), /docker login|podman login|skopeo login/)
  const ca = await readFile(join(directory, 'ca.crt'))
  t.is((await get(`${url}/v2/`, { ca, auth: `admin:${password}` })).statusCode, 200)
  first.child.kill('SIGTERM')
  t.is((await first.exit).code, 0)
  const files = await readdir(directory)
  const second = run(t, args)
  const { url: again = '' } = await second.line('listening')
  await second.text(/docker push/)
  t.notRegex(second.output(), new RegExp(password ?? ''))
  t.is((await get(`${again}/v2/`, { ca, auth: `admin:${password}` })).statusCode, 200)
  t.deepEqual(await readdir(directory), files)
})

test('serve: a request that waits behind one answered with Connection: close is not carried out', async (t) => {
  const seen: string[] = []
  const finish = Promise.withResolvers<void>()
  await using backend = await startHttpBackend(async (req, res) => {
    seen.push(req.method ?? '')
    await finish.promise
    res.end('{}')
  })
  const front = run(t, ['serve', '--upstream', backend.url, '--addr', '127.0.0.1:0'])
  const { url = '' } = await front.line('listening')
  const client = connect(Number(new URL(url).port), '127.0.0.1')
  const blob = `/v2/a/blobs/sha256:${'a'.repeat(64)}`
  client.write('GET /v2/ HTTP/1.1\r\nHost: h\r\n\r\n')
  client.write(`DELETE ${blob} HTTP/1.1\r\nHost: h\r\n\r\n`)
  let received = ''
  client.on('data', (bytes) => {
    received += bytes
  })
  while (seen.length === 0) await new Promise(setImmediate)
  front.child.kill('SIGTERM')
  await front.line('stopping')
  finish.resolve()
  await once(client, 'close')
  t.regex(received, /Connection: close/)
  t.is((await front.exit).code, 0)
  t.deepEqual(seen, ['GET'])
})

test('serve: a handshake that nobody goes on with does not hold SIGTERM', async (t) => {
  const files = await makeFiles(t)
  await using backend = await startHttpBackend(() => {})
  const front = run(t, ['serve', '--upstream', backend.url, '--addr', '127.0.0.1:0'], {
    REGISTRY_HTTP_TLS_CERTIFICATE: join(files, 'domain.crt'),
    REGISTRY_HTTP_TLS_KEY: join(files, 'domain.key'),
    // Longer than this test may take: only the drain can end it.
    REGISTRY_HTTP_TIMEOUTS_HEADERS: '10m',
  })
  const { url = '' } = await front.line('listening')
  const silent = connect(Number(new URL(url).port), '127.0.0.1')
  silent.on('error', () => {})
  await once(silent, 'connect')
  silent.write(Buffer.from([0x16]))
  t.is((await get(`${url}/healthz`)).statusCode, 200)
  front.child.kill('SIGTERM')
  t.is((await front.exit).code, 0)
  t.notRegex(front.output(), /cut off/)
})

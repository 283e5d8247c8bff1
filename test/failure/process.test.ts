import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempDisposable, readdir, writeFile } from 'node:fs/promises'
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
  return {
    child,
    output: () => stdout,
    exit,
    async line(msg) {
      for (;;) {
        const found = stdout.split('\n').find((line) => line.includes(`"msg":"${msg}`))
        if (found !== undefined) return JSON.parse(found)
        if (child.exitCode !== null) throw new Error(`it ended: ${stderr}`)
        await Promise.race([once(child.stdout, 'data'), exit])
      }
    },
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
  const password = /password +(\S+)/.exec(first.output())?.[1]
  t.truthy(password)
  t.regex(first.output(), /docker login|podman login|skopeo login/)
  const { readFile } = await import('node:fs/promises')
  const ca = await readFile(join(directory, 'ca.crt'))
  t.is((await get(`${url}/v2/`, { ca, auth: `admin:${password}` })).statusCode, 200)
  first.child.kill('SIGTERM')
  t.is((await first.exit).code, 0)
  const files = await readdir(directory)
  const second = run(t, args)
  const { url: again = '' } = await second.line('listening')
  t.notRegex(second.output(), new RegExp(password ?? ''))
  t.is((await get(`${again}/v2/`, { ca, auth: `admin:${password}` })).statusCode, 200)
  t.deepEqual(await readdir(directory), files)
})

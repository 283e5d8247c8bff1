import { chmod, mkdir, mkdtempDisposable, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import test from 'ava'
import fc from 'fast-check'
import type { Authenticator } from '../../../src/auth/authenticator.ts'
import { openHtpasswdAuthenticator } from '../../../src/auth/htpasswd.ts'
import { hashPassword } from '../../../src/auth/password-hash.ts'
import { createPasswordVerifier } from '../../../src/auth/password-verifier.ts'
import { startVerifierWorker } from '../../../src/auth/verifier-threads.ts'
import { RegistryError } from '../../../src/lib/errors.ts'
import { StartupError } from '../../../src/lib/startup-error.ts'
import { captureLog } from './captured-log.ts'

const sha = '{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=' // secret
const clientAddress = '192.0.2.1'

const basic = (user: string, password: string): string =>
  `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`

const login = (authenticator: Authenticator, user: string, password: string): Promise<unknown> =>
  authenticator.authenticate({ authorization: basic(user, password), clientAddress })

/** An authenticator over a file of these lines, which counts the hashes that its threads compute. */
async function openFixture(lines: string, start = startVerifierWorker) {
  const dir = await mkdtempDisposable(join(tmpdir(), 'tidegate-auth-'))
  const path = join(dir.path, 'htpasswd')
  await writeFile(path, lines)
  const { log, lines: logged, text } = captureLog()
  const count = { hashes: 0 }
  const startWorker = (): Worker =>
    start().on('message', () => {
      count.hashes++
    })
  const verifier = createPasswordVerifier({ log, startWorker })
  const authenticator = await openHtpasswdAuthenticator({ path, realm: 'R', log, verifier })
  return {
    path,
    authenticator,
    verifier,
    count,
    logged,
    logText: text,
    async [Symbol.asyncDispose]() {
      await authenticator[Symbol.asyncDispose]()
      await verifier[Symbol.asyncDispose]()
      await dir[Symbol.asyncDispose]()
    },
  }
}

test('a missing file, a folder and a file without a usable user refuse to start, in one line', async (t) => {
  await using dir = await mkdtempDisposable(join(tmpdir(), 'tidegate-auth-'))
  const { log, lines } = captureLog()
  await using verifier = createPasswordVerifier({ log })
  const file = async (name: string, content: string): Promise<string> => {
    await writeFile(join(dir.path, name), content, 'latin1')
    return join(dir.path, name)
  }
  await mkdir(join(dir.path, 'folder'))
  const add = /; add a user with: tidegate htpasswd add \S+ USER$/
  const cases: [path: string, why: RegExp, remedy: RegExp][] = [
    [join(dir.path, 'missing'), /there is no such file/, add],
    [join(dir.path, 'folder'), /this is a folder/, /; name the htpasswd file in it$/],
    [join(dir.path, 'x'.repeat(300)), /ENAMETOOLONG/, /; name a file that can be$/],
    [await file('utf16', '\xff\xfea\0'), /not UTF-8/, /; save it as UTF-8$/],
    [await file('empty', ''), /names no user/, add],
    [await file('comments', '# nobody\n'), /names no user/, add],
    [
      await file('bad', 'bob:hunter2\ncarol:hunter2\n'),
      /line 1, user bob: .*plain-text.*1 more/,
      add,
    ],
  ]
  for (const [path, why, remedy] of cases) {
    const error = await t.throwsAsync(
      openHtpasswdAuthenticator({ path, realm: 'R', log, verifier }),
      {
        instanceOf: StartupError,
        message: why,
      },
    )
    t.is(error.problems.length, 1)
    t.false(error.message.includes('\n') || error.message.includes('hunter2'))
    t.true(error.message.includes(`${path}: `))
    t.regex(error.message, remedy)
  }
  t.deepEqual(lines, [])
})

const testUnlessRoot = process.getuid?.() === 0 ? test.skip : test
testUnlessRoot('an unreadable file refuses to start', async (t) => {
  await using dir = await mkdtempDisposable(join(tmpdir(), 'tidegate-auth-'))
  const path = join(dir.path, 'htpasswd')
  await writeFile(path, `alice:${sha}`)
  await chmod(path, 0)
  const { log } = captureLog()
  await using verifier = createPasswordVerifier({ log })
  await t.throwsAsync(openHtpasswdAuthenticator({ path, realm: 'R', log, verifier }), {
    instanceOf: StartupError,
    message: /may not read the file; let uid \d+ read it/,
  })
})

test('with usable users, bad lines are warned of one by one and never quoted', async (t) => {
  await using fixture = await openFixture(`alice:${sha}\nbob:hunter2\nhunter2\nalice:${sha}\n`)
  t.deepEqual(
    fixture.logged.map(({ level, line, user }) => [level, line, user]),
    [
      [40, 2, 'bob'],
      [40, 3, undefined],
      [40, 4, 'alice'],
    ],
  )
  const remedies = fixture.logged.map(({ remedy }) => `${remedy}`.replace(fixture.path, 'FILE'))
  t.deepEqual(remedies, [
    'tidegate htpasswd add FILE bob',
    'correct or delete line 3 of FILE',
    'delete line 4 of FILE',
  ])
  t.false(fixture.logText().includes('hunter2') || fixture.logText().includes(sha))
})

test('a remedy is quoted for the shell, and never asks for a name that nobody can type', async (t) => {
  await using fixture = await openFixture(
    `ok:${sha}\na'; reboot:x\nz\u200bw:x\nc\u0001:${sha}\n${sha}:bob\n`,
  )
  const remedies = fixture.logged.map(({ remedy }) => `${remedy}`.replace(fixture.path, 'FILE'))
  t.deepEqual(remedies, [
    `tidegate htpasswd add FILE 'a'\\''; reboot'`,
    'correct or delete line 3 of FILE',
    'correct or delete line 4 of FILE',
    'correct or delete line 5 of FILE',
  ])
})

test('whatever is not a right password is UNAUTHORIZED with the same challenge and text', async (t) => {
  await using fixture = await openFixture(`alice:${sha}\nempty:${sha}\n`)
  const values = [
    undefined,
    '',
    'Basic',
    'Bearer abc',
    'Digest username="alice"',
    'Basic !!!',
    basic('alice', 'wrong'),
    basic('stranger', 'secret'),
    basic('Alice', 'secret'),
    basic('', ''),
    basic('alice', ''),
    basic('', 'secret'),
    basic('alice', 'secret\n'),
    basic('alice\0', 'secret'),
    basic('alice', 'x'.repeat(5000)),
  ]
  const bodies = new Set<string>()
  for (const authorization of values) {
    const error = await t.throwsAsync(
      fixture.authenticator.authenticate({ authorization, clientAddress }),
      { instanceOf: RegistryError },
    )
    t.is(error.code, 'UNAUTHORIZED', authorization)
    t.deepEqual(error.headers, { 'www-authenticate': 'Basic realm="R", charset="UTF-8"' })
    bodies.add(JSON.stringify([error.message, error.detail]))
  }
  t.is(bodies.size, 1)
  const attempts = values.filter((value) => value !== undefined)
  t.is(fixture.logged.length, attempts.length, 'one line per attempt, none for a first ping')
})

test('a failed login is one line with user and client, without password or forged lines', async (t) => {
  await using fixture = await openFixture(`alice:${sha}\n`)
  await t.throwsAsync(login(fixture.authenticator, 'alice', 'hunter2'))
  await t.throwsAsync(login(fixture.authenticator, `x\n${'y'.repeat(500)}`, 'hunter2'))
  t.deepEqual(
    fixture.logged.map(({ msg, level, user, client }) => ({ msg, level, user, client })),
    [
      { msg: 'authentication failed', level: 40, user: 'alice', client: clientAddress },
      {
        msg: 'authentication failed',
        level: 40,
        user: `x\\u{a}${'y'.repeat(58)}`,
        client: clientAddress,
      },
    ],
  )
  t.false(fixture.logText().includes('hunter2'))
})

test('a stranger costs one verification, like a wrong password, and malformed credentials none', async (t) => {
  await using fixture = await openFixture(`alice:${sha}\n`)
  await t.throwsAsync(login(fixture.authenticator, 'stranger', 'secret'))
  t.is(fixture.count.hashes, 1)
  await t.throwsAsync(login(fixture.authenticator, 'alice', 'wrong'))
  t.is(fixture.count.hashes, 2)
  await t.throwsAsync(login(fixture.authenticator, 'alice', ''))
  t.is(fixture.count.hashes, 2)
})

test('a wrong password for a cheaper hash than most costs what a stranger costs on top', async (t) => {
  const most = hashPassword('secret', 5)
  await using fixture = await openFixture(
    `alice:${most}\nbob:${most}\nsha:${sha}\ncheap:${hashPassword('secret', 4)}\ndear:${hashPassword('secret', 6)}\n`,
  )
  const costs: [user: string, password: string, hashes: number][] = [
    ['stranger', 'wrong', 1],
    ['alice', 'wrong', 1],
    ['dear', 'wrong', 1],
    ['sha', 'wrong', 2],
    ['cheap', 'wrong', 2],
    ['sha', 'secret', 1],
  ]
  for (const [user, password, hashes] of costs) {
    fixture.count.hashes = 0
    await login(fixture.authenticator, user, password).catch(() => undefined)
    t.is(fixture.count.hashes, hashes, `${user} ${password}`)
  }
})

test('a stranger with the password of the dummy hash costs a verification every time', async (t) => {
  await using fixture = await openFixture(`alice:${sha}\nbob:${hashPassword('secret', 4)}\n`)
  const { authenticator, count } = fixture
  for (const user of ['alice', 'bob']) {
    await login(authenticator, user, 'secret')
    count.hashes = 0
    for (const hashes of [1, 2]) {
      await t.throwsAsync(login(authenticator, 'stranger', 'secret'), { code: 'UNAUTHORIZED' })
      t.is(count.hashes, hashes)
    }
  }
})

test('two authenticators with one verifier hash a login once, and let nobody in for the other', async (t) => {
  await using first = await openFixture(`alice:${sha}\n`)
  const { log } = captureLog()
  const { path, verifier, count } = first
  await using second = await openHtpasswdAuthenticator({ path, realm: 'R', log, verifier })
  await login(first.authenticator, 'alice', 'secret')
  t.like(await login(second, 'alice', 'secret'), { name: 'alice' })
  t.is(count.hashes, 1)
  await t.throwsAsync(login(second, 'alice', 'wrong'), { code: 'UNAUTHORIZED' })
  await t.throwsAsync(login(second, 'bob', 'secret'), { code: 'UNAUTHORIZED' })
})

test('when the work on top fails, a wrong password is UNAUTHORIZED all the same, and logged', async (t) => {
  const startDyingOnBcrypt = (): Worker =>
    new Worker(
      `const { parentPort } = require('node:worker_threads')
       parentPort.on('message', ({ hash }) => {
         if (hash.startsWith('$2y$')) process.exit(1)
         parentPort.postMessage({ matches: false, elapsedMs: 1 })
       })`,
      { eval: true },
    )
  const most = hashPassword('secret', 4)
  const lines = `alice:${most}\nbob:${most}\nsha:${sha}\n`
  await using fixture = await openFixture(lines, startDyingOnBcrypt)
  await t.throwsAsync(login(fixture.authenticator, 'sha', 'wrong'), { code: 'UNAUTHORIZED' })
  t.is(fixture.logged.at(-1)?.msg, 'authentication failed')
})

test('every kind of hash lets its user in', async (t) => {
  await using fixture = await openFixture(
    [
      `bcrypt:${hashPassword('Hello world!', 4)}`,
      'apr1:$apr1$r31.....$DSxSjH675VTjvc8yL6H8v/',
      'sha256:$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5',
      'sha1:{SHA}00hq6RNueFa8QiEjhep5cJRHWAI=',
    ].join('\r\n'),
  )
  for (const name of ['bcrypt', 'apr1', 'sha256', 'sha1']) {
    t.deepEqual(await login(fixture.authenticator, name, 'Hello world!'), { kind: 'user', name })
  }
})

test('passwords with colons and any Unicode let their user in', async (t) => {
  const password = fc
    .string({ unit: 'grapheme', minLength: 1, maxLength: 12 })
    .map((text) => `:${text}`)
  const passwords = fc.sample(password, 20)
  const lines = passwords.map((text, at) => `u${at}:${hashPassword(text, 4)}`)
  await using fixture = await openFixture(lines.join('\n'))
  for (const [at, text] of passwords.entries()) {
    t.like(await login(fixture.authenticator, `u${at}`, text), { name: `u${at}` })
  }
})

test('1,000 requests with one credential cost one hash, one after the other or at once', async (t) => {
  await using fixture = await openFixture(`alice:${hashPassword('secret', 4)}\n`)
  const { authenticator, count } = fixture
  await Promise.all(Array.from({ length: 500 }, () => login(authenticator, 'alice', 'secret')))
  for (let left = 500; left > 0; left--) await login(authenticator, 'alice', 'secret')
  t.is(count.hashes, 1)
})

const bursts: [what: string, user: (at: number) => string][] = [
  ['as the same user', () => 'alice'],
  ['as another user', () => 'bob'],
  ['as 64 users', (at) => `user${at}`],
]
for (const [what, user] of bursts) {
  test(`64 wrong logins ${what} do not delay the good one that comes after them`, async (t) => {
    const stored = hashPassword('secret')
    await using fixture = await openFixture(`alice:${stored}\nbob:${stored}\n`)
    const { authenticator, verifier, count } = fixture
    const wrong = Array.from({ length: 64 }, (_, at) =>
      t.throwsAsync(login(authenticator, user(at), `wrong ${at}`)),
    )
    await login(authenticator, 'alice', 'secret')
    // At most one in progress on each of the four threads that there can be, and its own.
    t.true(count.hashes <= 5, `${count.hashes} hashes`)
    await verifier[Symbol.asyncDispose]()
    await Promise.all(wrong)
  })
}

test('more logins than can wait are told to try again, and the good one among them is served', async (t) => {
  await using fixture = await openFixture(`alice:${hashPassword('secret', 8)}\n`)
  const { authenticator, verifier } = fixture
  const wrong = Array.from({ length: 300 }, (_, at) =>
    login(authenticator, `user${at}`, 'wrong').catch((error: unknown) => error),
  )
  t.like(await login(authenticator, 'alice', 'secret'), { name: 'alice' })
  await verifier[Symbol.asyncDispose]()
  const errors = (await Promise.all(wrong)).filter((error) => error instanceof RegistryError)
  const refused = errors.filter(({ code }) => code === 'TOOMANYREQUESTS')
  t.true(refused.length >= 300 - 256 - 4)
  t.is(refused[0]?.headers['retry-after'], '1')
})

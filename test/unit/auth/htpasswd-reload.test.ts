import { mkdir, mkdtempDisposable, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import test, { type ExecutionContext } from 'ava'
import { openHtpasswdAuthenticator } from '../../../src/auth/htpasswd.ts'
import { createPasswordVerifier } from '../../../src/auth/password-verifier.ts'
import { captureLog } from './captured-log.ts'

const secret = '{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ='
const other = '{SHA}00hq6RNueFa8QiEjhep5cJRHWAI=' // Hello world!

async function openAt(path: string) {
  const { log, lines } = captureLog()
  const verifier = createPasswordVerifier({ log })
  const authenticator = await openHtpasswdAuthenticator({
    path,
    realm: 'R',
    log,
    verifier,
    watchIntervalMs: 10,
  })
  const lets = (user: string, password: string): Promise<boolean> => {
    const authorization = `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`
    return authenticator.authenticate({ authorization, clientAddress: '192.0.2.1' }).then(
      () => true,
      () => false,
    )
  }
  const messages = (): string[] =>
    lines.map(({ msg }) => msg).filter((msg) => msg.startsWith('htpasswd'))
  return {
    lets,
    lines,
    messages,
    async [Symbol.asyncDispose]() {
      await authenticator[Symbol.asyncDispose]()
      await verifier[Symbol.asyncDispose]()
    },
  }
}

/** Waits for the condition; the test's own time limit is what ends a wait in vain. */
async function until(t: ExecutionContext, condition: () => boolean | Promise<boolean>) {
  while (!(await condition())) await delay(10)
  t.pass()
}

/** Writes the file so that nobody meets it half written. */
async function replace(path: string, content: string | Buffer): Promise<void> {
  await writeFile(`${path}.new`, content)
  await rename(`${path}.new`, path)
}

const temporary = () => mkdtempDisposable(join(tmpdir(), 'tidegate-reload-'))

test('while the file is missing or not text the last users stay, told once; then it recovers', async (t) => {
  await using dir = await temporary()
  const path = join(dir.path, 'htpasswd')
  await writeFile(path, `alice:${secret}\n`)
  await using users = await openAt(path)
  const breakages = [
    () => rm(path),
    () => replace(path, Buffer.from(`\ufeffbob:${secret}`, 'utf16le')),
    async () => {
      await rm(path)
      await mkdir(path)
    },
    async () => {
      await rm(path, { recursive: true })
      await replace(path, Buffer.alloc(40))
    },
  ]
  for (const breakIt of breakages) {
    const told = users.messages().length
    await breakIt()
    await until(t, () => users.messages().length > told)
    t.true(await users.lets('alice', 'secret'))
  }
  const failures = users.lines.filter(({ msg }) => msg.startsWith('htpasswd'))
  t.true(failures.every(({ level, msg }) => level === 50 && msg.endsWith('keeping the last users')))
  await replace(path, `bob:${secret}\n`)
  await until(t, () => users.lets('bob', 'secret'))
  t.false(await users.lets('alice', 'secret'))
  t.is(users.messages().at(-1), 'htpasswd file recovered')
})

const withoutUsers: [what: string, content: string][] = [
  ['empty', ''],
  ['all comments', `#alice:${secret}\n`],
  ['of one locked user', `alice:!${secret}\n`],
  ['in plain text', 'alice:hunter2\n'],
]
for (const [what, content] of withoutUsers) {
  test(`a file that stays ${what} lets nobody in, remembered or not, until it names users`, async (t) => {
    await using dir = await temporary()
    const path = join(dir.path, 'htpasswd')
    await writeFile(path, `alice:${secret}\n`)
    await using users = await openAt(path)
    t.true(await users.lets('alice', 'secret'))
    await replace(path, content)
    await until(t, async () => !(await users.lets('alice', 'secret')))
    const told = users.lines.find(({ msg }) => msg === 'htpasswd file lets nobody log in any more')
    t.is(told?.level, 50)
    t.true(`${told?.['remedy']}`.endsWith(`tidegate htpasswd add ${path} USER`))
    t.false(JSON.stringify(users.lines).includes('hunter2'))
    await replace(path, `alice:${secret}\n`)
    await until(t, () => users.lets('alice', 'secret'))
    t.is(users.messages().at(-1), 'htpasswd file recovered')
  })
}

test('an edited password counts at once, though the old one was remembered', async (t) => {
  await using dir = await temporary()
  const path = join(dir.path, 'htpasswd')
  await writeFile(path, `alice:${secret}\n`)
  await using users = await openAt(path)
  t.true(await users.lets('alice', 'secret'))
  await writeFile(path, `alice:${other}\nbob:plain\n`)
  await until(t, () => users.lets('alice', 'Hello world!'))
  t.false(await users.lets('alice', 'secret'))
  t.is(users.messages().at(-1), 'htpasswd line ignored')
})

test('a removed user is out even when another has the very same hash', async (t) => {
  await using dir = await temporary()
  const path = join(dir.path, 'htpasswd')
  await writeFile(path, `alice:${secret}\nbob:${secret}\n`)
  await using users = await openAt(path)
  t.true(await users.lets('bob', 'secret'))
  await writeFile(path, `alice:${secret}\n`)
  // The write may have been met half done, as an empty file.
  await until(t, () => /reloaded|recovered/.test(users.messages().at(-1) ?? ''))
  t.false(await users.lets('bob', 'secret'))
  t.true(await users.lets('alice', 'secret'))
})

test('a file renamed over the old one is taken up', async (t) => {
  await using dir = await temporary()
  const path = join(dir.path, 'htpasswd')
  await writeFile(path, `alice:${secret}\n`)
  await using users = await openAt(path)
  await writeFile(`${path}.new`, `bob:${secret}\n`)
  await rename(`${path}.new`, path)
  await until(t, () => users.lets('bob', 'secret'))
  t.false(await users.lets('alice', 'secret'))
})

test('a swapped folder symlink, as Kubernetes does it, is taken up', async (t) => {
  await using dir = await temporary()
  for (const [version, user] of [
    ['v1', 'alice'],
    ['v2', 'bob'],
  ]) {
    await mkdir(join(dir.path, `${version}`))
    await writeFile(join(dir.path, `${version}`, 'htpasswd'), `${user}:${secret}\n`)
  }
  await symlink('v1', join(dir.path, '..data'))
  await symlink(join('..data', 'htpasswd'), join(dir.path, 'htpasswd'))
  await using users = await openAt(join(dir.path, 'htpasswd'))
  t.true(await users.lets('alice', 'secret'))
  await symlink('v2', join(dir.path, '..data.new'))
  await rename(join(dir.path, '..data.new'), join(dir.path, '..data'))
  await until(t, () => users.lets('bob', 'secret'))
  t.false(await users.lets('alice', 'secret'))
})

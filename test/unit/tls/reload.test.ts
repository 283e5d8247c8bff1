import {
  mkdir,
  mkdtempDisposable,
  readFile,
  rename,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import test, { type ExecutionContext } from 'ava'
import pino from 'pino'
import {
  loadTlsServerOptions,
  type TlsConfig,
  watchTlsServerOptions,
} from '../../../src/tls/server-options.ts'
import { startTlsServer } from './handshake.ts'
import { type MadePair, makeExpired, makePair } from './openssl.ts'

const temporary = () => mkdtempDisposable(join(tmpdir(), 'tidegate-reload-'))

/** A server on `pair` that follows its files, and what it logs. */
async function startFollowing(pair: MadePair, { pass = true } = {}) {
  const tls: TlsConfig = {
    ...pair,
    minimumtls: 'tls1.2',
    ciphersuites: [],
    clientcas: [],
    clientauth: 'require-and-verify-client-cert',
  }
  const lines: { level: number; problems?: string[] }[] = []
  const log = pino({}, { write: (line: string) => void lines.push(JSON.parse(line)) })
  const { options, files } = await loadTlsServerOptions(tls)
  const server = await startTlsServer(options)
  let reloads = 0
  const watch = watchTlsServerOptions(tls, {
    log,
    onReload: (fresh) => {
      reloads += 1
      server.server.setSecureContext(fresh)
    },
    ...(pass && { initial: files }),
  })
  return {
    server,
    problems: () => lines.flatMap(({ problems = [] }) => problems),
    reloads: () => reloads,
    /** The common name that a new connection is shown. */
    async served(): Promise<unknown> {
      const client = await server.connect({ rejectUnauthorized: false })
      const { subject } = client.getPeerCertificate()
      client.destroy()
      return subject.CN
    },
    async [Symbol.asyncDispose]() {
      await watch[Symbol.asyncDispose]()
      await server[Symbol.asyncDispose]()
    },
  }
}

/** Looks until the condition holds; ava's time limit ends what never does. */
async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await delay(50)
}

async function install(from: MadePair, to: MadePair): Promise<void> {
  await writeFile(to.certificate, await readFile(from.certificate))
  await writeFile(to.key, await readFile(from.key))
}

test('reload: two files replaced one after the other end with the new pair, and open connections stay', async (t) => {
  await using folder = await temporary()
  const [first, second] = await makeTwo(folder.path)
  await using server = await startFollowing(first)
  const open = await server.server.connect({ rejectUnauthorized: false })
  await writeFile(first.certificate, await readFile(second.certificate))
  await until(() => server.problems().length > 0)
  t.regex(
    server.problems()[0] ?? '',
    /first\.key does not belong to the certificate in .*first\.crt/,
  )
  t.is(await server.served(), 'first')
  await writeFile(first.key, await readFile(second.key))
  await until(async () => (await server.served()) === 'second')
  t.is(server.reloads(), 1)
  t.false(open.destroyed)
})

test('reload: certbot’s swap of the live/ links brings the new pair', async (t) => {
  await using folder = await temporary()
  const [first, second] = await makeTwo(folder.path)
  const live = {
    certificate: join(folder.path, 'fullchain.pem'),
    key: join(folder.path, 'privkey.pem'),
  }
  await point(live, first)
  await using server = await startFollowing(live)
  await point(live, second)
  await until(async () => (await server.served()) === 'second')
  t.pass()
})

test('reload: a swap of the folder’s own link, as Kubernetes does it, brings the new pair', async (t) => {
  await using folder = await temporary()
  const [first, second] = await makeTwo(folder.path)
  for (const [name, pair] of [
    ['v1', first],
    ['v2', second],
  ] as const) {
    await mkdir(join(folder.path, name))
    await install(pair, {
      certificate: join(folder.path, name, 'tls.crt'),
      key: join(folder.path, name, 'tls.key'),
    })
  }
  const data = join(folder.path, '..data')
  await symlink('v1', data)
  await using server = await startFollowing({
    certificate: join(data, 'tls.crt'),
    key: join(data, 'tls.key'),
  })
  await symlink('v2', `${data}.new`)
  await rename(`${data}.new`, data)
  await until(async () => (await server.served()) === 'second')
  t.pass()
})

test('reload: a half-written certificate keeps the one in use', async (t) => {
  await using folder = await temporary()
  const [first, second] = await makeTwo(folder.path)
  const text = await readFile(second.certificate, 'utf8')
  await breaks(t, first, () => writeFile(first.certificate, text.slice(0, 300)), /breaks off/)
})

test('reload: files that vanish keep the certificate in use', async (t) => {
  await using folder = await temporary()
  const [first] = await makeTwo(folder.path)
  const remove = () => Promise.all([rm(first.certificate), rm(first.key)])
  await breaks(t, first, remove, /first\.crt does not exist/)
})

test('reload: an expired certificate does not replace the one in use', async (t) => {
  await using folder = await temporary()
  const [first] = await makeTwo(folder.path)
  const expired = await makeExpired(folder.path)
  await breaks(t, first, () => install(expired, first), /first\.crt expired at 2021/)
})

test('reload: a change between load and watch is not missed', async (t) => {
  await using folder = await temporary()
  const [first, second] = await makeTwo(folder.path)
  await using server = await startFollowing(first, { pass: false })
  await install(second, first)
  await until(async () => (await server.served()) === 'second')
  t.pass()
})

async function breaks(
  t: ExecutionContext,
  pair: MadePair,
  damage: () => Promise<unknown>,
  expected: RegExp,
): Promise<void> {
  await using server = await startFollowing(pair)
  await damage()
  await until(() => server.problems().some((line) => expected.test(line)))
  t.is(await server.served(), 'first')
  t.is(server.reloads(), 0)
}

async function makeTwo(folder: string): Promise<[MadePair, MadePair]> {
  return [await makePair(folder, 'first'), await makePair(folder, 'second')]
}

/** Like certbot: a new link beside, renamed over the old one. */
async function point(live: MadePair, target: MadePair): Promise<void> {
  for (const part of ['certificate', 'key'] as const) {
    await symlink(target[part], `${live[part]}.new`)
    await rename(`${live[part]}.new`, live[part])
  }
}

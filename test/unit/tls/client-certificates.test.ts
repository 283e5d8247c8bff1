import { mkdtempDisposable, readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { ConnectionOptions } from 'node:tls'
import test from 'ava'
import {
  type ClientAuth,
  clientCertificateProblem,
  loadTlsServerOptions,
} from '../../../src/tls/server-options.ts'
import { startTlsServer } from './handshake.ts'
import { type MadePair, makePair } from './openssl.ts'

/** A server in one mode that greets with its verdict, and clients with and without certificates. */
async function startJudging(clientauth: ClientAuth) {
  const folder = await mkdtempDisposable(join(tmpdir(), 'tidegate-clients-'))
  const [pair, authority, stranger] = await Promise.all(
    ['server', 'clients', 'stranger'].map((name) => makePair(folder.path, name)),
  )
  if (!pair || !authority || !stranger) throw new Error('three pairs')
  const known = await makePair(folder.path, 'known', { issuer: authority })
  const { options } = await loadTlsServerOptions({
    ...pair,
    minimumtls: 'tls1.2',
    ciphersuites: [],
    clientcas: [authority.certificate],
    clientauth,
  })
  const server = await startTlsServer(options, (socket) => {
    return clientCertificateProblem(socket, clientauth) ?? 'fine'
  })
  const ca = await readFile(pair.certificate)
  const credentials = async (client: MadePair | undefined): Promise<ConnectionOptions> =>
    (client && { cert: await readFile(client.certificate), key: await readFile(client.key) }) || {}
  return {
    known,
    stranger,
    /** The verdict about a connection, and about a second one that resumes its session. */
    async verdicts(client: MadePair | undefined, maxVersion: 'TLSv1.2' | 'TLSv1.3') {
      const options = { ca, maxVersion, ...(await credentials(client)) }
      const first = await server.connect(options)
      let session = first.latestSession()
      while (session === undefined) {
        await delay(10)
        session = first.latestSession()
      }
      const second = await server.connect({ ...options, session })
      return { verdicts: [first.greeting, second.greeting], resumed: second.isSessionReused() }
    },
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]()
      await folder.remove()
    },
  }
}

type Expected = { none: string | RegExp; stranger: string | RegExp }

const missing = 'no client certificate was sent'
const untrusted = /^the client certificate was refused: (DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED)/

const judges = test.macro(async (t, mode: ClientAuth, expected: Expected) => {
  await using server = await startJudging(mode)
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    const cases = [
      [undefined, expected.none],
      [server.stranger, expected.stranger],
      [server.known, 'fine'],
    ] as const
    for (const [client, verdict] of cases) {
      const { verdicts, resumed } = await server.verdicts(client, version)
      t.true(resumed, 'the second connection must show that resuming opens no way around')
      for (const one of verdicts) {
        if (typeof verdict === 'string') t.is(one, verdict)
        else t.regex(one, verdict)
      }
    }
  }
})
test('client certificates: request-client-cert lets everyone in', judges, 'request-client-cert', {
  none: 'fine',
  stranger: 'fine',
})
test(
  'client certificates: require-any-client-cert wants one from anybody',
  judges,
  'require-any-client-cert',
  {
    none: missing,
    stranger: 'fine',
  },
)
test(
  'client certificates: verify-client-cert-if-given refuses only what it cannot verify',
  judges,
  'verify-client-cert-if-given',
  {
    none: 'fine',
    stranger: untrusted,
  },
)

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
  test(`client certificates: require-and-verify-client-cert ends other ${version} connections before a word`, async (t) => {
    await using server = await startJudging('require-and-verify-client-cert')
    await t.throwsAsync(server.verdicts(undefined, version))
    await t.throwsAsync(server.verdicts(server.stranger, version))
    t.deepEqual(await server.verdicts(server.known, version), {
      verdicts: ['fine', 'fine'],
      resumed: true,
    })
  })
}

test('client certificates: without clientcas no certificate is asked for', async (t) => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'tidegate-clients-'))
  const pair = await makePair(folder.path, 'server')
  const { options } = await loadTlsServerOptions({
    ...pair,
    minimumtls: 'tls1.2',
    ciphersuites: [],
    clientcas: [],
    clientauth: 'require-and-verify-client-cert',
  })
  await using server = await startTlsServer(options)
  const client = await server.connect({ ca: await readFile(pair.certificate) })
  t.is(client.greeting, 'hello')
})

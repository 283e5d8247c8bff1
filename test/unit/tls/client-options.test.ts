import { mkdtempDisposable, readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { StartupError } from '../../../src/lib/startup-error.ts'
import { loadTlsClientOptions } from '../../../src/tls/client-options.ts'
import { startTlsServer } from './handshake.ts'
import { makePair } from './openssl.ts'

const temporary = () => mkdtempDisposable(join(tmpdir(), 'tidegate-upstream-'))

async function read({ certificate, key }: { certificate: string; key: string }) {
  return { cert: await readFile(certificate), key: await readFile(key) }
}

test('upstream tls: an upstream that no known authority vouches for is refused', async (t) => {
  await using folder = await temporary()
  await using server = await startTlsServer(await read(await makePair(folder.path, 'backend')))
  await t.throwsAsync(server.connect(await loadTlsClientOptions({})), {
    code: 'DEPTH_ZERO_SELF_SIGNED_CERT',
  })
})

test('upstream tls: its own authority is trusted, for the name it is given', async (t) => {
  await using folder = await temporary()
  const backend = await makePair(folder.path, 'backend', {
    extensions: ['subjectAltName=DNS:inside.test'],
  })
  await using server = await startTlsServer(await read(backend))
  const ca = backend.certificate
  await t.throwsAsync(server.connect(await loadTlsClientOptions({ ca })), {
    code: 'ERR_TLS_CERT_ALTNAME_INVALID',
  })
  const options = await loadTlsClientOptions({ ca, servername: 'inside.test' })
  t.true((await server.connect(options)).authorized)
})

test('upstream tls: `ca` replaces all other authorities', async (t) => {
  await using folder = await temporary()
  const [backend, other] = await Promise.all(
    ['backend', 'other'].map((name) => makePair(folder.path, name)),
  )
  if (!backend || !other) throw new Error('two pairs')
  await using server = await startTlsServer(await read(backend))
  await t.throwsAsync(server.connect(await loadTlsClientOptions({ ca: other.certificate })), {
    code: 'DEPTH_ZERO_SELF_SIGNED_CERT',
  })
})

test('upstream tls: every certificate of a `ca` bundle counts', async (t) => {
  await using folder = await temporary()
  const backend = await makePair(folder.path, 'backend')
  const other = await makePair(folder.path, 'other')
  const ca = join(folder.path, 'bundle.crt')
  await writeFile(
    ca,
    Buffer.concat([await readFile(other.certificate), await readFile(backend.certificate)]),
  )
  await using server = await startTlsServer(await read(backend))
  t.true((await server.connect(await loadTlsClientOptions({ ca }))).authorized)
})

test('upstream tls: the client certificate is shown', async (t) => {
  await using folder = await temporary()
  const backend = await makePair(folder.path, 'backend')
  const client = await makePair(folder.path, 'client')
  const server = await startTlsServer(
    { ...(await read(backend)), ca: [await readFile(client.certificate)], requestCert: true },
    (socket) => `${socket.authorized}: ${socket.getPeerCertificate().subject.CN}`,
  )
  await using _ = server
  const options = await loadTlsClientOptions({ ca: backend.certificate, ...client })
  t.is((await server.connect(options)).greeting, 'true: client')
})

test('upstream tls: certificate and key come together', async (t) => {
  await t.throwsAsync(loadTlsClientOptions({ certificate: '/certs/client.crt' }), {
    instanceOf: StartupError,
    message: 'upstream.tls.key: missing, but upstream.tls.certificate is set; set both or neither',
  })
  await t.throwsAsync(loadTlsClientOptions({ key: '/certs/client.key' }), {
    message: 'upstream.tls.certificate: missing, but upstream.tls.key is set; set both or neither',
  })
})

test('upstream tls: problems of all files are reported at once, with their settings', async (t) => {
  await using folder = await temporary()
  const absent = (name: string) => join(folder.path, name)
  const error = await t.throwsAsync(
    loadTlsClientOptions({ ca: absent('ca'), certificate: absent('crt'), key: absent('key') }),
    { instanceOf: StartupError },
  )
  t.deepEqual(
    error?.problems.map((line) => line.split(': ')[0]),
    ['upstream.tls.ca', 'upstream.tls.certificate', 'upstream.tls.key'],
  )
})

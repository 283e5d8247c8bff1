import { mkdir, mkdtempDisposable, readFile, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ConnectionOptions } from 'node:tls'
import test from 'ava'
import { StartupError } from '../../../src/lib/startup-error.ts'
import { readPemBlocks } from '../../../src/tls/pem-file.ts'
import { loadTlsServerOptions, type TlsConfig } from '../../../src/tls/server-options.ts'
import { startTlsServer } from './handshake.ts'
import { ec, type MadePair, makeChain, makeExpired, makePair, openssl } from './openssl.ts'

const temporary = () => mkdtempDisposable(join(tmpdir(), 'tidegate-tls-'))

function config(pair: MadePair, extra: Partial<TlsConfig> = {}): TlsConfig {
  return {
    ...pair,
    minimumtls: 'tls1.2',
    ciphersuites: [],
    clientcas: [],
    clientauth: 'require-and-verify-client-cert',
    ...extra,
  }
}

type Breakage = {
  /** Breaks the pair in the folder and returns the one that is configured. */
  arrange: (folder: string, pair: MadePair) => Promise<MadePair>
  expected: RegExp
}

const problemOf = test.macro(async (t, { arrange, expected }: Breakage) => {
  await using folder = await temporary()
  const pair = await arrange(folder.path, await makePair(folder.path, 'server'))
  const error = await t.throwsAsync(loadTlsServerOptions(config(pair)), {
    instanceOf: StartupError,
  })
  t.deepEqual(error?.problems.length, 1, error?.message)
  t.regex(error?.message ?? '', expected)
  t.notRegex(error?.message ?? '', /KEY-----|MI[GIH]/)
})

test('tls: a missing certificate is named with its setting', problemOf, {
  arrange: async (folder, pair) => ({ ...pair, certificate: join(folder, 'absent.crt') }),
  expected: /^http\.tls\.certificate: .*absent\.crt does not exist; check the path/,
})
test('tls: a link into a folder that is not mounted says so', problemOf, {
  arrange: async (folder, pair) => {
    await symlink('../../archive/site/privkey1.pem', join(folder, 'privkey.pem'))
    return { ...pair, key: join(folder, 'privkey.pem') }
  },
  expected:
    /^http\.tls\.key: .*privkey\.pem is a link to \.\.\/\.\.\/archive\/site\/privkey1\.pem, which does not exist here; mount/,
})
test('tls: a folder in place of a file points to the mount', problemOf, {
  arrange: async (folder, pair) => {
    await mkdir(join(folder, 'folder.crt'))
    return { ...pair, certificate: join(folder, 'folder.crt') }
  },
  expected: /folder\.crt is a folder, not a file/,
})
test('tls: an empty file is called empty', problemOf, {
  arrange: async (_, pair) => {
    await writeFile(pair.key, '')
    return pair
  },
  expected: /server\.key is empty/,
})
test('tls: a file of something else holds no PEM text', problemOf, {
  arrange: async (_, pair) => {
    await writeFile(pair.certificate, 'hello\n')
    return pair
  },
  expected: /server\.crt holds no PEM text/,
})
test('tls: a file that breaks off inside a block is found', problemOf, {
  arrange: async (_, pair) => {
    const text = await readFile(pair.certificate, 'utf8')
    await writeFile(pair.certificate, text + text.slice(0, text.length / 2))
    return pair
  },
  expected: /server\.crt breaks off inside a PEM block/,
})
test('tls: a block that is not base64 of a certificate is damaged', problemOf, {
  arrange: async (_, pair) => {
    await writeFile(
      pair.certificate,
      '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n',
    )
    return pair
  },
  expected: /server\.crt is damaged: certificate 1 in it cannot be decoded/,
})
test('tls: a DER certificate comes with the command that converts it', problemOf, {
  arrange: async (folder, pair) => {
    await openssl(folder, 'x509', '-in', pair.certificate, '-outform', 'der', '-out', 'server.der')
    return { ...pair, certificate: join(folder, 'server.der') }
  },
  expected: /server\.der is DER, not PEM; convert it: openssl x509 -inform der -in/,
})
test('tls: a DER key comes with the command that converts it', problemOf, {
  arrange: async (folder, pair) => {
    await openssl(folder, 'pkey', '-in', pair.key, '-outform', 'der', '-out', 'key.der')
    return { ...pair, key: join(folder, 'key.der') }
  },
  expected: /key\.der is DER, not PEM; convert it: openssl pkey -inform der/,
})
test('tls: a PKCS#12 file comes with the command that converts it', problemOf, {
  arrange: async (folder, { certificate, key }) => {
    const args = ['-in', certificate, '-inkey', key, '-passout', 'pass:x', '-out', 'server.p12']
    await openssl(folder, 'pkcs12', '-export', ...args)
    return { key, certificate: join(folder, 'server.p12') }
  },
  expected: /server\.p12 is binary, not PEM; if it is PKCS#12, convert it: openssl pkcs12/,
})
test('tls: swapped certificate and key are one problem', problemOf, {
  arrange: async (_, { certificate, key }) => ({ certificate: key, key: certificate }),
  expected:
    /holds the private key and .* the certificate; swap http\.tls\.certificate and http\.tls\.key/,
})
test('tls: a certificate request is not a certificate', problemOf, {
  arrange: async (folder, pair) => {
    await openssl(folder, 'req', '-new', '-key', pair.key, '-subj', '/CN=x', '-out', 'x.csr')
    return { ...pair, certificate: join(folder, 'x.csr') }
  },
  expected: /x\.csr holds CERTIFICATE REQUEST, not a certificate/,
})
test('tls: a key of another certificate does not belong', problemOf, {
  arrange: async (folder, pair) => ({ ...pair, key: (await makePair(folder, 'other')).key }),
  expected: /^http\.tls\.key: .*other\.key does not belong to the certificate in .*server\.crt/,
})
test('tls: an encrypted PKCS#8 key comes with the command that decrypts it', problemOf, {
  arrange: async (folder, pair) => {
    const args = ['-in', pair.key, '-aes256', '-passout', 'pass:x', '-out', 'encrypted.key']
    await openssl(folder, 'pkey', ...args)
    return { ...pair, key: join(folder, 'encrypted.key') }
  },
  expected: /encrypted\.key is encrypted with a passphrase.*openssl pkey -in/,
})
test('tls: an encrypted SEC1 key comes with the command that decrypts it', problemOf, {
  arrange: async (folder, pair) => {
    const args = [
      '-in',
      pair.key,
      '-traditional',
      '-aes256',
      '-passout',
      'pass:x',
      '-out',
      'old.key',
    ]
    await openssl(folder, 'pkey', ...args)
    return { ...pair, key: join(folder, 'old.key') }
  },
  expected: /old\.key is encrypted with a passphrase/,
})
test('tls: an RSA key below 2048 bits is refused', problemOf, {
  arrange: (folder) => makePair(folder, 'short', { newkey: ['rsa:1024'] }),
  expected: /short\.key is an RSA key of 1024 bits/,
})
test('tls: an EC key on a curve that clients lack is refused', problemOf, {
  arrange: (folder) =>
    makePair(folder, 'koblitz', { newkey: ['ec', '-pkeyopt', 'ec_paramgen_curve:secp256k1'] }),
  expected: /koblitz\.key is an EC key on secp256k1/,
})
test('tls: a chain that does not begin with the leaf says which one it is', problemOf, {
  arrange: async (folder) => {
    const { leaf, intermediate } = await makeChain(folder)
    const texts = await Promise.all([intermediate, leaf].map((one) => readFile(one.certificate)))
    await writeFile(leaf.certificate, Buffer.concat(texts))
    return leaf
  },
  expected: /leaf\.crt has its chain in the wrong order: .* it is number 2/,
})
test('tls: what only OpenSSL refuses is one line with its reason', async (t) => {
  await using folder = await temporary()
  const pair = await makePair(folder.path, 'server')
  const tls = config(pair, { ciphersuites: ['NO-SUCH-SUITE'] })
  const error = await t.throwsAsync(loadTlsServerOptions(tls), { instanceOf: StartupError })
  t.regex(error?.message ?? '', /^http\.tls: .*server\.crt with .* is refused by OpenSSL: .*cipher/)
})

test('tls: a certificate signed with SHA-1 starts with a warning', async (t) => {
  await using folder = await temporary()
  const { warnings } = await loadTlsServerOptions(config(await makeSha1(folder.path)))
  t.regex(warnings.join('\n'), /sha1\.crt is signed with ecdsa-with-SHA1, which clients refuse/)
})

test('tls: a file that may not be read names the user', async (t) => {
  const error = Object.assign(new Error('permission denied'), { code: 'EACCES' })
  const source = { setting: 'http.tls.key', path: '/certs/domain.key', state: { error } }
  const thrown = await t.throwsAsync(readPemBlocks(source), { instanceOf: StartupError })
  t.regex(
    thrown?.message ?? '',
    /domain\.key cannot be read by the user .*uid \d+.*change its owner/,
  )
})

test('tls: all problems are reported at once', async (t) => {
  await using folder = await temporary()
  const absent = (name: string) => join(folder.path, name)
  const tls = config(
    { certificate: absent('a.crt'), key: absent('a.key') },
    { clientcas: [absent('b.crt'), absent('c.crt')] },
  )
  const error = await t.throwsAsync(loadTlsServerOptions(tls), { instanceOf: StartupError })
  t.deepEqual(
    error?.problems.map((line) => line.split(': ')[0]),
    ['certificate', 'key', 'clientcas[0]', 'clientcas[1]'].map((key) => `http.tls.${key}`),
  )
})

test('tls: an expired certificate starts with a warning', async (t) => {
  await using folder = await temporary()
  const pair = await makeExpired(folder.path)
  const loaded = await loadTlsServerOptions(config(pair))
  t.true(loaded.certificate.expiresAt < new Date('2022-01-01'))
  t.is(loaded.warnings.length, 1)
  t.regex(loaded.warnings[0] ?? '', /expired\.crt expired at 2021-.*renew it/)
})

test('tls: a certificate without alternative names starts with a warning', async (t) => {
  await using folder = await temporary()
  const pair = await makePair(folder.path, 'nameless', { extensions: [] })
  const { warnings, certificate } = await loadTlsServerOptions(config(pair))
  t.regex(
    warnings.join('\n'),
    /no subject alternative names, so docker, podman and browsers refuse/,
  )
  t.deepEqual(certificate.names, [])
})

test('tls: a chain out of order behind the leaf starts with a warning', async (t) => {
  await using folder = await temporary()
  const { leaf, root, intermediate } = await makeChain(folder.path)
  const texts = await Promise.all(
    [leaf, root, intermediate].map((one) => readFile(one.certificate)),
  )
  await writeFile(leaf.certificate, Buffer.concat(texts))
  const { warnings } = await loadTlsServerOptions(config(leaf))
  t.regex(warnings.join('\n'), /certificate 2 did not issue certificate 1/)
})

test('tls: subject, names and expiry of the certificate are told', async (t) => {
  await using folder = await temporary()
  const extensions = ['subjectAltName=DNS:a.test,DNS:*.b.test,IP:10.0.0.1,email:x@y.test']
  const pair = await makePair(folder.path, 'server', { subject: '/O=One/CN=two', extensions })
  const { certificate } = await loadTlsServerOptions(config(pair))
  t.is(certificate.subject, 'O=One, CN=two')
  t.deepEqual(certificate.names, ['a.test', '*.b.test', '10.0.0.1'])
  t.true(certificate.expiresAt > new Date())
  const unnamed = await makePair(folder.path, 'unnamed', { subject: '/', extensions })
  t.is((await loadTlsServerOptions(config(unnamed))).certificate.subject, '')
})

const handshake = test.macro(async (t, newkey: readonly string[], format: readonly string[]) => {
  await using folder = await temporary()
  const pair = await makePair(folder.path, 'server', { newkey })
  if (format.length > 0) await openssl(folder.path, ...format, '-in', pair.key, '-out', pair.key)
  const { options } = await loadTlsServerOptions(config(pair))
  await using server = await startTlsServer(options)
  const ca = await readFile(pair.certificate)
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    const client = await server.connect({ ca, minVersion: version, maxVersion: version })
    t.is(client.getProtocol(), version)
    t.true(client.authorized)
  }
})
test('tls: an EC key in PKCS#8 serves TLS 1.2 and 1.3', handshake, ec, [])
test('tls: an EC key in SEC1 serves TLS 1.2 and 1.3', handshake, ec, [
  'ec',
  '-param_enc',
  'named_curve',
])
test('tls: an RSA key in PKCS#8 serves TLS 1.2 and 1.3', handshake, ['rsa:2048'], [])
test(
  'tls: an RSA key in PKCS#1 serves TLS 1.2 and 1.3',
  handshake,
  ['rsa:2048'],
  ['rsa', '-traditional'],
)
test('tls: an Ed25519 key serves TLS 1.2 and 1.3', handshake, ['ed25519'], [])

test('tls: certificate and key may share one file, and text around the blocks is fine', async (t) => {
  await using folder = await temporary()
  const pair = await makePair(folder.path, 'server')
  const both = join(folder.path, 'both.pem')
  const parameters = await openssl(folder.path, 'ecparam', '-name', 'prime256v1')
  const [key, certificate] = await Promise.all([
    readFile(pair.key, 'utf8'),
    readFile(pair.certificate, 'utf8'),
  ])
  await writeFile(both, `Bag Attributes\r\n${parameters}${key}subject=x - y\n${certificate}`)
  const { options } = await loadTlsServerOptions(config({ certificate: both, key: both }))
  await using server = await startTlsServer(options)
  t.true((await server.connect({ ca: certificate })).authorized)
})

test('tls: the chain is delivered, so that a client with only the root trusts the leaf', async (t) => {
  await using folder = await temporary()
  const { root, leaf, chain } = await makeChain(folder.path)
  const ca = await readFile(root.certificate)
  await t.throwsAsync(connectTo(leaf, { ca }), { code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' })
  await writeFile(leaf.certificate, chain)
  t.true((await connectTo(leaf, { ca })).authorized)
})

test('tls: certbot’s live/ links are followed', async (t) => {
  await using folder = await temporary()
  const [live, archive] = [join(folder.path, 'live/site'), join(folder.path, 'archive/site')]
  await Promise.all([live, archive].map((path) => mkdir(path, { recursive: true })))
  await makePair(archive, 'one')
  await symlink('../../archive/site/one.crt', join(live, 'fullchain.pem'))
  await symlink('../../archive/site/one.key', join(live, 'privkey.pem'))
  const pair = { certificate: join(live, 'fullchain.pem'), key: join(live, 'privkey.pem') }
  t.true((await connectTo(pair, { ca: await readFile(pair.certificate) })).authorized)
})

const refused = test.macro(async (t, client: ConnectionOptions, extra: Partial<TlsConfig> = {}) => {
  await using folder = await temporary()
  const pair = await makePair(folder.path, 'server')
  const ca = await readFile(pair.certificate)
  const error = await t.throwsAsync<NodeJS.ErrnoException>(
    connectTo(pair, { ca, ...client }, extra),
  )
  t.regex(error?.code ?? '', /^ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION|^ERR_SSL_.*HANDSHAKE_FAILURE/)
})
const legacy = { minVersion: 'TLSv1', ciphers: 'ALL:@SECLEVEL=0' } as const
test('tls: TLS 1.1 is refused', refused, { ...legacy, maxVersion: 'TLSv1.1' })
test(
  'tls: TLS 1.2 is refused when minimumtls is tls1.3',
  refused,
  { maxVersion: 'TLSv1.2' },
  {
    minimumtls: 'tls1.3',
  },
)
test('tls: a CBC suite is refused', refused, {
  maxVersion: 'TLSv1.2',
  ciphers: 'ECDHE-ECDSA-AES128-SHA256:ECDHE-ECDSA-AES256-SHA',
})
test(
  'tls: a suite outside ciphersuites is refused',
  refused,
  {
    maxVersion: 'TLSv1.2',
    ciphers: 'ECDHE-ECDSA-AES128-GCM-SHA256',
  },
  { ciphersuites: ['ECDHE-ECDSA-AES256-GCM-SHA384'] },
)

test('tls: minimumtls tls1.3 serves TLS 1.3', async (t) => {
  await using folder = await temporary()
  const pair = await makePair(folder.path, 'server')
  const ca = await readFile(pair.certificate)
  t.is((await connectTo(pair, { ca }, { minimumtls: 'tls1.3' })).protocol, 'TLSv1.3')
})

test('tls: ciphersuites of TLS 1.2 leave TLS 1.3 on', async (t) => {
  await using folder = await temporary()
  const pair = await makePair(folder.path, 'server')
  const ca = await readFile(pair.certificate)
  const extra = { ciphersuites: ['ECDHE-ECDSA-AES256-GCM-SHA384'] }
  t.is((await connectTo(pair, { ca }, extra)).protocol, 'TLSv1.3')
  const older = await connectTo(pair, { ca, maxVersion: 'TLSv1.2' }, extra)
  t.is(older.cipher, 'ECDHE-ECDSA-AES256-GCM-SHA384')
  const only13 = { ciphersuites: ['TLS_CHACHA20_POLY1305_SHA256'] }
  t.is((await connectTo(pair, { ca }, only13)).cipher, 'TLS_CHACHA20_POLY1305_SHA256')
})

test('tls: ALPN agrees on http/1.1 whatever else the client offers', async (t) => {
  await using folder = await temporary()
  const pair = await makePair(folder.path, 'server')
  const ca = await readFile(pair.certificate)
  const client = await connectTo(pair, { ca, ALPNProtocols: ['h2', 'http/1.1'] })
  t.is(client.alpnProtocol, 'http/1.1')
})

async function connectTo(pair: MadePair, client: ConnectionOptions, extra?: Partial<TlsConfig>) {
  const { options } = await loadTlsServerOptions(config(pair, extra))
  await using server = await startTlsServer(options)
  const socket = await server.connect(client)
  // The socket is closed with the server, which makes it forget what was agreed on.
  const { authorized, alpnProtocol } = socket
  return {
    authorized,
    alpnProtocol,
    protocol: socket.getProtocol(),
    cipher: socket.getCipher().name,
  }
}

async function makeSha1(folder: string): Promise<MadePair> {
  const [pair, root] = await Promise.all([makePair(folder, 'sha1'), makePair(folder, 'issuer')])
  await openssl(
    folder,
    ...['req', '-x509', '-sha1', '-subj', '/CN=x', '-addext', 'subjectAltName=DNS:localhost'],
    ...['-CA', root.certificate, '-CAkey', root.key, '-key', pair.key, '-out', pair.certificate],
  )
  return pair
}

import { execFile } from 'node:child_process'
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempDisposable, readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import test from 'ava'
import fc from 'fast-check'
import { createAuthority, generateKey, issueServerCertificate } from '../../../src/tls/authority.ts'
import { startTlsServer } from './handshake.ts'
import { makePair, openssl } from './openssl.ts'

const run = promisify(execFile)
const temporary = () => mkdtempDisposable(join(tmpdir(), 'tidegate-authority-'))
const dayMs = 24 * 60 * 60 * 1000

function makeAuthority(key: KeyObject = generateKey()) {
  const pem = createAuthority({ name: 'Test authority', key })
  return { pem, key, certificate: new X509Certificate(pem) }
}

async function write(folder: string, files: Record<string, string>): Promise<void> {
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text)
}

const toPem = (key: KeyObject) => String(key.export({ type: 'pkcs8', format: 'pem' }))

test('authority: openssl verifies the chain by the strict rules of RFC 5280', async (t) => {
  await using folder = await temporary()
  const authority = makeAuthority()
  const leaf = issueServerCertificate(authority, { names: ['localhost', '127.0.0.1'] })
  await write(folder.path, { 'ca.crt': authority.pem, 'leaf.crt': leaf.certificate })
  const args = ['-x509_strict', '-check_ss_sig', '-purpose', 'sslserver', '-CAfile', 'ca.crt']
  const hosts = [
    ['-verify_hostname', 'localhost'],
    ['-verify_ip', '127.0.0.1'],
  ]
  for (const host of hosts) {
    t.is(await openssl(folder.path, 'verify', ...args, ...host, 'leaf.crt'), 'leaf.crt: OK\n')
  }
})

test('authority: its certificate may sign certificates, one level deep, for ten years', async (t) => {
  await using folder = await temporary()
  const { pem, certificate } = makeAuthority()
  await write(folder.path, { 'ca.crt': pem })
  const text = await openssl(folder.path, 'x509', '-in', 'ca.crt', '-noout', '-text')
  t.regex(text, /Basic Constraints: critical\s+CA:TRUE, pathlen:0/)
  t.regex(text, /Key Usage: critical\s+Certificate Sign, CRL Sign/)
  t.regex(text, /Signature Algorithm: ecdsa-with-SHA256/)
  t.regex(text, /NIST CURVE: P-256/)
  t.is(lifetimeDays(certificate), 3650)
})

test('authority: two authorities never share a name', (t) => {
  t.not(makeAuthority().certificate.subject, makeAuthority().certificate.subject)
})

test('authority: a server certificate is for serving only and lives 397 days', async (t) => {
  await using folder = await temporary()
  const names = ['localhost', 'a-b.test', '127.0.0.1', '::1', 'fd00::2']
  const { certificate } = issueServerCertificate(makeAuthority(), { names })
  await write(folder.path, { 'leaf.crt': certificate })
  const text = await openssl(folder.path, 'x509', '-in', 'leaf.crt', '-noout', '-text')
  t.regex(text, /Basic Constraints: critical\s+CA:FALSE/)
  t.regex(text, /Key Usage: critical\s+Digital Signature\n/)
  t.regex(text, /Extended Key Usage:\s+TLS Web Server Authentication\n/)
  t.regex(
    text,
    /DNS:localhost, DNS:a-b\.test, IP Address:127\.0\.0\.1, IP Address:0:0:0:0:0:0:0:1, IP Address:FD00:0:0:0:0:0:0:2/,
  )
  t.is(lifetimeDays(new X509Certificate(certificate)), 397)
  t.true(new X509Certificate(certificate).validFromDate < new Date())
})

test('authority: a server certificate does not outlive its authority', (t) => {
  const key = generateKey()
  const now = new Date(Date.now() - 3600 * dayMs)
  const certificate = new X509Certificate(createAuthority({ name: 'Old', key, now }))
  const leaf = issueServerCertificate({ certificate, key }, { names: ['localhost'] })
  t.deepEqual(new X509Certificate(leaf.certificate).validToDate, certificate.validToDate)
})

test('authority: dates from 2050 on are written as RFC 5280 wants them', (t) => {
  const key = generateKey()
  const certificate = createAuthority({ name: 'Late', key, now: new Date('2045-06-01T00:00:00Z') })
  const { validFromDate, validToDate } = new X509Certificate(certificate)
  t.is(validFromDate.toISOString(), '2045-05-31T23:00:00.000Z')
  t.is(validToDate.toISOString(), '2055-05-29T23:00:00.000Z')
})

test('authority: a real handshake trusts it for every name and refuses others', async (t) => {
  const authority = makeAuthority()
  const names = ['localhost', '127.0.0.1', '::1']
  const { certificate: cert, key } = issueServerCertificate(authority, { names })
  await using server = await startTlsServer({ cert, key: toPem(key) })
  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    t.true((await server.connect({ ca: authority.pem, maxVersion })).authorized)
  }
  await t.throwsAsync(server.connect({ ca: authority.pem, servername: 'other.test' }), {
    code: 'ERR_TLS_CERT_ALTNAME_INVALID',
  })
  await t.throwsAsync(server.connect({ ca: makeAuthority().pem }), {
    code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  })
})

test('authority: curl trusts it by --cacert', async (t) => {
  await using folder = await temporary()
  const authority = makeAuthority()
  const { certificate: cert, key } = issueServerCertificate(authority, { names: ['127.0.0.1'] })
  await write(folder.path, { 'ca.crt': authority.pem })
  const server = createServer({ cert, key: toPem(key) }, (_, res) => res.end('served'))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo // a TCP server that listens has one
  try {
    const ca = join(folder.path, 'ca.crt')
    const { stdout } = await run('curl', ['-sS', '--cacert', ca, `https://127.0.0.1:${port}/`])
    t.is(stdout, 'served')
  } finally {
    server.close()
  }
})

for (const newkey of [['rsa:2048'], ['ec', '-pkeyopt', 'ec_paramgen_curve:P-384']]) {
  test(`authority: one made by other tools issues as well (${newkey.at(-1)})`, async (t) => {
    await using folder = await temporary()
    const subject = '/C=NZ/O=Größe/OU=a\\/b/CN=Their authority'
    const pair = await makePair(folder.path, 'ca', {
      newkey,
      subject,
      extensions: ['keyUsage=critical,keyCertSign'],
    })
    const authority = {
      certificate: new X509Certificate(await readFile(pair.certificate)),
      key: createPrivateKey(await readFile(pair.key)),
    }
    const leaf = issueServerCertificate(authority, { names: ['localhost'] })
    await write(folder.path, { 'leaf.crt': leaf.certificate })
    const args = ['-x509_strict', '-CAfile', 'ca.crt', 'leaf.crt']
    t.is(await openssl(folder.path, 'verify', ...args), 'leaf.crt: OK\n')
  })
}

test('authority: any IP address ends up in the certificate as itself', (t) => {
  const authority = makeAuthority()
  fc.assert(
    fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), (address) => {
      const { certificate } = issueServerCertificate(authority, { names: [address] })
      return new X509Certificate(certificate).checkIP(address) !== undefined
    }),
    { numRuns: 60 },
  )
  t.pass()
})

test('authority: a public key whose bytes happen to look like ASN.1 stays what it is', (t) => {
  // 04 3F … is a whole OCTET STRING to node-forge; one key in 256 begins like that.
  const isLookalike = (key: KeyObject) => {
    const x = key.export({ format: 'jwk' }).x ?? ''
    return Buffer.from(x, 'base64url')[0] === 0x3f
  }
  let key = generateKey()
  while (!isLookalike(key)) key = generateKey()
  const { certificate } = makeAuthority(key)
  t.true(certificate.checkPrivateKey(key))
  t.true(certificate.verify(certificate.publicKey))
})

function lifetimeDays({ validFromDate, validToDate }: X509Certificate): number {
  return (validToDate.getTime() - validFromDate.getTime()) / dayMs
}

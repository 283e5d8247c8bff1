import {
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  type X509Certificate,
} from 'node:crypto'
import { isIP } from 'node:net'
import forge from 'node-forge'
import {
  bitString,
  distinguishedName,
  extension,
  keyIdentifier,
  oid,
  primitive,
  readIssuer,
  sequence,
  signCertificate,
  tagged,
} from './certificate-der.ts'

const { Type } = forge.asn1
const dayMs = 24 * 60 * 60 * 1000
/** Issued certificates begin an hour early, for clients whose clock is behind. */
const clockSkewMs = 60 * 60 * 1000
const authorityDays = 3650
/** Browsers and Apple's clients refuse server certificates of 398 days and more. */
const serverDays = 397

export type Authority = { readonly certificate: X509Certificate; readonly key: KeyObject }

export type IssuedCertificate = {
  /** PEM */
  readonly certificate: string
  readonly key: KeyObject
}

/** A new EC P-256 private key. */
export function generateKey(): KeyObject {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
}

/**
 * A self-signed authority (PEM) for `key`, good for ten years and for server certificates only
 * directly below it. Its name ends in a piece of the key's fingerprint, because trust stores
 * confuse two authorities of one name.
 */
export function createAuthority({
  name,
  key,
  now = new Date(),
}: {
  name: string
  key: KeyObject
  now?: Date
}): string {
  const publicKey = createPublicKey(key)
  const identifier = keyIdentifier(publicKey)
  const fingerprint = Buffer.from(identifier, 'latin1').toString('hex').slice(0, 8)
  const subject = distinguishedName('Tidegate', `${name} ${fingerprint}`)
  return signCertificate(
    {
      issuer: subject,
      subject,
      publicKey,
      ...validity(now, authorityDays),
      extensions: [
        basicConstraints(primitive(Type.BOOLEAN, '\xff'), primitive(Type.INTEGER, '\0')),
        keyUsage(1, 0b0000_0110), // keyCertSign, cRLSign
        subjectKeyIdentifier(identifier),
      ],
    },
    key,
  )
}

/**
 * A server certificate for DNS names and IP addresses with a new EC P-256 key, good for 397 days
 * but never longer than its authority. The names are in the subjectAltName only: no client of today
 * reads the common name. RFC 9525.
 */
export function issueServerCertificate(
  authority: Authority,
  { names, now = new Date() }: { names: readonly string[]; now?: Date },
): IssuedCertificate {
  const key = generateKey()
  const publicKey = createPublicKey(key)
  const { subject: issuer, identifier } = readIssuer(authority.certificate.raw)
  const { notBefore, notAfter } = validity(now, serverDays)
  const end = Math.min(notAfter.getTime(), authority.certificate.validToDate.getTime())
  const content = {
    issuer,
    subject: distinguishedName('Tidegate', 'Tidegate server'),
    publicKey,
    notBefore,
    notAfter: new Date(end),
    extensions: [
      basicConstraints(),
      keyUsage(7, 0b1000_0000), // digitalSignature
      extension('2.5.29.37', sequence(oid('1.3.6.1.5.5.7.3.1'))), // serverAuth
      extension('2.5.29.17', sequence(...names.map(generalName))),
      subjectKeyIdentifier(keyIdentifier(publicKey)),
      ...(identifier === undefined ? [] : [authorityKeyIdentifier(identifier)]),
    ],
  }
  return { certificate: signCertificate(content, authority.key), key }
}

function validity(now: Date, days: number): { notBefore: Date; notAfter: Date } {
  const start = now.getTime() - clockSkewMs
  return { notBefore: new Date(start), notAfter: new Date(start + days * dayMs) }
}

function basicConstraints(...values: forge.asn1.Asn1[]) {
  return extension('2.5.29.19', sequence(...values), { critical: true })
}

function keyUsage(unusedBits: number, bits: number) {
  return extension('2.5.29.15', bitString(unusedBits, Buffer.of(bits)), { critical: true })
}

function subjectKeyIdentifier(identifier: string) {
  return extension('2.5.29.14', primitive(Type.OCTETSTRING, identifier))
}

function authorityKeyIdentifier(identifier: string) {
  return extension('2.5.29.35', sequence(tagged(0, identifier)))
}

/** RFC 5280 4.2.1.6: dNSName is tag 2, iPAddress tag 7. */
function generalName(name: string) {
  return isIP(name) === 0 ? tagged(2, name) : tagged(7, addressBytes(name).toString('latin1'))
}

function addressBytes(address: string): Buffer {
  if (isIP(address) === 4) return Buffer.from(address.split('.').map(Number))
  // The URL parser writes every IPv6 address in hexadecimal groups with at most one "::".
  const [head = '', tail = ''] = new URL(`http://[${address}]`).hostname.slice(1, -1).split('::')
  const groups = (text: string): string[] => (text === '' ? [] : text.split(':'))
  const [first, last] = [groups(head), groups(tail)]
  const zeros = Array<string>(8 - first.length - last.length).fill('0')
  const hex = [...first, ...zeros, ...last].map((group) => group.padStart(4, '0')).join('')
  return Buffer.from(hex, 'hex')
}

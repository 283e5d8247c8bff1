import { createHash, type KeyObject, randomBytes, sign } from 'node:crypto'
import forge from 'node-forge'

const { asn1 } = forge

/** A piece of ASN.1 that goes into a certificate. */
export type Asn1 = forge.asn1.Asn1

export type CertificateContent = {
  readonly issuer: Asn1
  readonly subject: Asn1
  readonly publicKey: KeyObject
  readonly notBefore: Date
  readonly notAfter: Date
  readonly extensions: readonly Asn1[]
}

/** RFC 5758 3.2 and RFC 4055 5: ECDSA takes no parameters, RSA an explicit NULL. */
const signatureAlgorithms: Readonly<Record<string, () => Asn1>> = {
  ec: () => sequence(oid('1.2.840.10045.4.3.2')),
  rsa: () => sequence(oid('1.2.840.113549.1.1.11'), primitive(asn1.Type.NULL, '')),
}

/** True when `signCertificate` can sign with this key: EC or RSA. */
export function canSign({ asymmetricKeyType }: KeyObject): boolean {
  return signatureAlgorithms[asymmetricKeyType ?? ''] !== undefined
}

/**
 * A signed X.509 v3 certificate as PEM (RFC 5280 4.1). Only the bytes are put together by
 * node-forge; keys and the signature (SHA-256) are OpenSSL's.
 * @throws TypeError when `canSign(key)` is false
 */
export function signCertificate(content: CertificateContent, key: KeyObject): string {
  const algorithm = signatureAlgorithms[key.asymmetricKeyType ?? '']
  if (algorithm === undefined) throw new TypeError(`cannot sign with ${key.asymmetricKeyType}`)
  const toBeSigned = sequence(
    explicit(0, primitive(asn1.Type.INTEGER, '\x02')),
    primitive(asn1.Type.INTEGER, serialNumber()),
    algorithm(),
    content.issuer,
    sequence(time(content.notBefore), time(content.notAfter)),
    content.subject,
    parseDer(content.publicKey.export({ type: 'spki', format: 'der' })),
    explicit(3, sequence(...content.extensions)),
  )
  const signature = sign('sha256', encodeDer(toBeSigned), key)
  const der = encodeDer(sequence(toBeSigned, algorithm(), bitString(0, signature)))
  return `-----BEGIN CERTIFICATE-----\n${toLines(der.toString('base64'))}-----END CERTIFICATE-----\n`
}

/** A distinguished name of an organisation and a common name. */
export function distinguishedName(organization: string, commonName: string): Asn1 {
  const attribute = (type: string, text: string) =>
    asn1.create(asn1.Class.UNIVERSAL, asn1.Type.SET, true, [
      sequence(oid(type), primitive(asn1.Type.UTF8, Buffer.from(text).toString('latin1'))),
    ])
  return sequence(attribute('2.5.4.10', organization), attribute('2.5.4.3', commonName))
}

/** One extension around its DER value. */
export function extension(id: string, value: Asn1, { critical = false } = {}): Asn1 {
  return sequence(
    oid(id),
    ...(critical ? [primitive(asn1.Type.BOOLEAN, '\xff')] : []),
    primitive(asn1.Type.OCTETSTRING, encodeDer(value).toString('latin1')),
  )
}

export function sequence(...children: Asn1[]): Asn1 {
  return asn1.create(asn1.Class.UNIVERSAL, asn1.Type.SEQUENCE, true, children)
}

/** A primitive of the universal class; `value` is a string of bytes. */
export function primitive(type: forge.asn1.Type, value: string): Asn1 {
  return asn1.create(asn1.Class.UNIVERSAL, type, false, value)
}

/** A primitive with a context-specific tag. */
export function tagged(tag: number, value: string): Asn1 {
  return asn1.create(asn1.Class.CONTEXT_SPECIFIC, tag, false, value)
}

export function oid(id: string): Asn1 {
  return primitive(asn1.Type.OID, asn1.oidToDer(id).getBytes())
}

export function bitString(unusedBits: number, bytes: Uint8Array): Asn1 {
  return primitive(
    asn1.Type.BITSTRING,
    String.fromCharCode(unusedBits) + Buffer.from(bytes).toString('latin1'),
  )
}

/**
 * The subject and the subject key identifier (bytes) of a certificate that we sign with: a file of
 * ours, already parsed by OpenSSL. node-forge must not see the DER of strangers.
 */
export function readIssuer(der: Buffer): { subject: Asn1; identifier: string | undefined } {
  const [toBeSigned] = children(parseDer(der))
  const fields = children(toBeSigned)
  const subject = fields[5] // after version, serial number, algorithm, issuer and validity
  if (subject === undefined) throw new TypeError('not an X.509 v3 certificate')
  const subjectKeyIdentifier = asn1.oidToDer('2.5.29.14').getBytes()
  const value = children(children(fields.at(-1))[0])
    .map(children)
    .find(([id]) => id?.value === subjectKeyIdentifier)
    ?.at(-1)?.value
  const identifier = typeof value === 'string' ? asn1.fromDer(value).value : undefined
  return { subject, identifier: typeof identifier === 'string' ? identifier : undefined }
}

/** A key identifier: SHA-256 of the whole public key information, cut to 160 bits. RFC 7093 2. */
export function keyIdentifier(publicKey: KeyObject): string {
  const spki = publicKey.export({ type: 'spki', format: 'der' })
  return createHash('sha256').update(spki).digest().subarray(0, 20).toString('latin1')
}

function parseDer(der: Buffer): Asn1 {
  return asn1.fromDer(der.toString('latin1'))
}

function encodeDer(value: Asn1): Buffer {
  return Buffer.from(asn1.toDer(value).getBytes(), 'latin1')
}

function children(value: Asn1 | undefined): readonly Asn1[] {
  return typeof value?.value === 'object' ? value.value : []
}

function explicit(tag: number, child: Asn1): Asn1 {
  return asn1.create(asn1.Class.CONTEXT_SPECIFIC, tag, true, [child])
}

/** Until 2049 as UTCTime, from 2050 on as GeneralizedTime. RFC 5280 4.1.2.5. */
function time(date: Date): Asn1 {
  return date.getUTCFullYear() < 2050
    ? primitive(asn1.Type.UTCTIME, asn1.dateToUtcTime(date))
    : primitive(asn1.Type.GENERALIZEDTIME, asn1.dateToGeneralizedTime(date))
}

/** 126 random bits: positive, not zero, always 16 bytes. RFC 5280 4.1.2.2. */
function serialNumber(): string {
  const bytes = randomBytes(16)
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40
  return bytes.toString('latin1')
}

function toLines(base64: string): string {
  return base64.replaceAll(/.{1,64}/g, '$&\n')
}

import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import { gatherProblems, StartupError } from '../lib/startup-error.ts'
import {
  isCertificate,
  isPrivateKey,
  type PemBlock,
  type PemSource,
  readPemBlocks,
} from './pem-file.ts'

/** A certificate with its chain and the private key that belongs to it, both as PEM. */
export type KeyPair = {
  readonly cert: string
  readonly key: string
  readonly leaf: X509Certificate
  /** What an operator should know although it serves: expired, no names, chain out of order. */
  readonly warnings: readonly string[]
}

const minRsaBits = 2048
const curves = new Set(['prime256v1', 'secp384r1', 'secp521r1'])

/**
 * Checks a certificate file and a key file, alone and against each other.
 * @throws StartupError with one line for each problem
 */
export async function parseKeyPair(certificate: PemSource, key: PemSource): Promise<KeyPair> {
  const [certificateBlocks, keyBlocks] = await gatherProblems([
    readPemBlocks(certificate),
    readPemBlocks(key),
  ])
  if (!certificateBlocks.some(isCertificate) && certificateBlocks.some(isPrivateKey)) {
    if (!keyBlocks.some(isPrivateKey) && keyBlocks.some(isCertificate))
      throw swapped(certificate, key)
  }
  const [chain, privateKey] = await gatherProblems([
    parseCertificates(certificate, certificateBlocks),
    parsePrivateKey(key, keyBlocks),
  ])
  const leaf = findLeaf({ certificate, key, chain, privateKey })
  return {
    cert: chain.map(String).join(''),
    key: keyBlocks.filter(isPrivateKey).map(({ text }) => text)[0] ?? '',
    leaf,
    warnings: [
      ...validityWarnings(certificate, leaf),
      ...nameWarnings(certificate, leaf),
      ...signatureWarnings(certificate, leaf),
      ...orderWarnings(certificate, chain),
    ],
  }
}

/**
 * Every certificate of a PEM file, in file order.
 * @throws StartupError when there is none or one cannot be decoded
 */
export async function parseCertificates(
  source: PemSource,
  blocks: readonly PemBlock[],
): Promise<X509Certificate[]> {
  const certificates = blocks.filter(isCertificate)
  if (certificates.length === 0) {
    throw problem(source, `holds ${blocks[0]?.label}, not a certificate`)
  }
  return certificates.map(({ text }, index) => {
    try {
      return new X509Certificate(text)
    } catch (cause) {
      throw problem(source, `is damaged: certificate ${index + 1} in it cannot be decoded`, cause)
    }
  })
}

/**
 * The private key of a PEM file: RSA (2048 bits or more), EC on a NIST curve, or Ed25519.
 * @throws StartupError when there is none, it is encrypted, or clients would not accept it
 */
export async function parsePrivateKey(
  source: PemSource,
  blocks: readonly PemBlock[],
): Promise<KeyObject> {
  const block = blocks.find(isPrivateKey)
  if (block === undefined) {
    throw problem(source, `holds ${blocks[0]?.label}, not a private key`)
  }
  if (block.label.startsWith('ENCRYPTED') || block.text.includes('Proc-Type: 4,ENCRYPTED')) {
    throw problem(
      source,
      `is encrypted with a passphrase, which nobody can type at start; decrypt it: openssl pkey -in ${source.path} -out NEW.key`,
    )
  }
  const key = decodeKey(source, block)
  const weakness = describeWeakness(key)
  if (weakness !== undefined) throw problem(source, weakness)
  return key
}

function decodeKey(source: PemSource, { label, text }: PemBlock): KeyObject {
  try {
    return createPrivateKey(text)
  } catch (cause) {
    throw problem(source, `is damaged: its ${label.toLowerCase()} cannot be decoded`, cause)
  }
}

function describeWeakness({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject) {
  switch (asymmetricKeyType) {
    case 'rsa':
    case 'rsa-pss': {
      const bits = asymmetricKeyDetails?.modulusLength ?? 0
      if (bits >= minRsaBits) return undefined
      return `is an RSA key of ${bits} bits, which clients refuse; use ${minRsaBits} or more, or EC P-256`
    }
    case 'ec': {
      const curve = asymmetricKeyDetails?.namedCurve ?? 'unknown'
      if (curves.has(curve)) return undefined
      return `is an EC key on ${curve}, which clients refuse; use P-256, P-384 or P-521`
    }
    case 'ed25519':
      return undefined
    default:
      return `is a ${asymmetricKeyType} key, which TLS cannot use; use RSA or EC P-256`
  }
}

type Pair = {
  readonly certificate: PemSource
  readonly key: PemSource
  readonly chain: readonly X509Certificate[]
  readonly privateKey: KeyObject
}

function findLeaf({ certificate, key, chain, privateKey }: Pair): X509Certificate {
  const position = chain.findIndex((one) => one.checkPrivateKey(privateKey))
  const leaf = chain[position]
  if (leaf === undefined) {
    throw problem(
      key,
      `does not belong to the certificate in ${certificate.path}; use the key it was issued for`,
    )
  }
  if (position > 0) {
    throw problem(
      certificate,
      `has its chain in the wrong order: the server's own certificate must be first, it is number ${position + 1}`,
    )
  }
  return leaf
}

function validityWarnings({ setting, path }: PemSource, leaf: X509Certificate): string[] {
  const now = new Date()
  if (leaf.validToDate < now) {
    return [
      `${setting}: ${path} expired at ${leaf.validToDate.toISOString()}; clients refuse it, renew it`,
    ]
  }
  if (leaf.validFromDate > now) {
    return [
      `${setting}: ${path} is not valid before ${leaf.validFromDate.toISOString()}; is the clock right?`,
    ]
  }
  return []
}

function nameWarnings({ setting, path }: PemSource, { subjectAltName }: X509Certificate): string[] {
  if (subjectAltName !== undefined) return []
  return [
    `${setting}: ${path} has no subject alternative names, so docker, podman and browsers refuse it; have it issued with a DNS name`,
  ]
}

/** Nobody checks the signature of a self-signed certificate: it is trusted as it is. */
function signatureWarnings({ setting, path }: PemSource, leaf: X509Certificate): string[] {
  const { signatureAlgorithm = 'an unknown algorithm' } = leaf
  if (!/sha1|md5/i.test(signatureAlgorithm) || leaf.checkIssued(leaf)) return []
  return [
    `${setting}: ${path} is signed with ${signatureAlgorithm}, which clients refuse; have it issued again with SHA-256`,
  ]
}

/** Clients of TLS 1.3 sort a chain themselves; older ones do not. RFC 8446 4.4.2. */
function orderWarnings({ setting, path }: PemSource, chain: readonly X509Certificate[]): string[] {
  const position = chain.findIndex((one, index) => {
    const issuer = chain[index + 1]
    return issuer !== undefined && !one.checkIssued(issuer)
  })
  if (position === -1) return []
  return [
    `${setting}: ${path}: certificate ${position + 2} did not issue certificate ${position + 1}; put the chain in order, leaf first`,
  ]
}

function swapped(certificate: PemSource, key: PemSource): StartupError {
  return new StartupError(
    `${certificate.setting}: ${certificate.path} holds the private key and ${key.path} the certificate; swap ${certificate.setting} and ${key.setting}`,
  )
}

function problem({ setting, path }: PemSource, text: string, cause?: unknown): StartupError {
  return new StartupError(`${setting}: ${path} ${text}`, { cause })
}

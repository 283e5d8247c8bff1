import { type KeyObject, X509Certificate } from 'node:crypto'
import { rename } from 'node:fs/promises'
import { isIP } from 'node:net'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { readStates } from '../lib/file-watch.ts'
import { replaceFile } from '../lib/replace-file.ts'
import { StartupError } from '../lib/startup-error.ts'
import {
  type Authority,
  createAuthority,
  generateKey,
  issueServerCertificate,
} from './authority.ts'
import { canSign } from './certificate-der.ts'
import { type KeyPair, parseCertificates, parseKeyPair, parsePrivateKey } from './key-pair.ts'
import { type PemSource, readPemBlocks } from './pem-file.ts'

const renewBeforeMs = 30 * 24 * 60 * 60 * 1000

/**
 * Makes sure that a folder holds a local authority and a server certificate from it:
 *
 *     ca.crt      the authority, for clients to trust
 *     ca.key      its private key, 0600
 *     server.crt  the server's certificate
 *     server.key  its private key, 0600
 *
 * A key is on disk before its certificate, so whatever a crash leaves is recognised and completed:
 * a lone ca.key gets its certificate, a server pair that does not fit together is issued again.
 * The authority is never replaced, because clients trust it. The server pair is issued again when
 * it is about to expire, lacks one of `names`, or is not the authority's.
 * @returns one line for each thing the operator may not expect
 * @throws StartupError when the files in the folder do not allow it
 */
export async function ensureServerCertificate(
  directory: string,
  names: readonly string[],
): Promise<string[]> {
  const authority = await ensureAuthority(directory)
  const current = await readServerPair(directory)
  const isForeign = current !== undefined && !isIssuedBy(current.leaf, authority.certificate)
  if (current !== undefined && !isForeign && isGood(current.leaf, names)) return []

  const signer = requireSigner(directory, authority)
  const files = serverFiles(directory)
  if (isForeign) await keepReplaced(files)
  const { certificate, key } = issueServerCertificate(signer, { names })
  await replaceFile(files.key, toPem(key), { mode: 0o600 })
  await replaceFile(files.certificate, certificate, { mode: 0o644 })
  if (!isForeign) return []
  return [
    `${files.certificate} was not issued by ca.crt beside it and has been replaced; the old pair is kept as server.crt.replaced and server.key.replaced`,
  ]
}

type Found = { readonly certificate: X509Certificate; readonly key: KeyObject | undefined }

async function ensureAuthority(directory: string): Promise<Found> {
  const files = authorityFiles(directory)
  const certificate = await readIfPresent(files.certificate, async (source) => {
    const [first] = await parseCertificates(source, await readPemBlocks(source))
    return first
  })
  const key = await readIfPresent(files.key, async (source) =>
    parsePrivateKey(source, await readPemBlocks(source)),
  )
  if (certificate !== undefined) return { certificate, key }

  const signer = key ?? generateKey()
  if (!canSign(signer)) throw cannotSign(files.key)
  if (key === undefined) await replaceFile(files.key, toPem(signer), { mode: 0o600 })
  const pem = createAuthority({ name: `Local authority of ${hostname()}`, key: signer })
  await replaceFile(files.certificate, pem, { mode: 0o644 })
  return { certificate: new X509Certificate(pem), key: signer }
}

function requireSigner(directory: string, { certificate, key }: Found): Authority {
  const files = authorityFiles(directory)
  const remedy = 'bring the right file back, or remove ca.crt and ca.key to start a new authority'
  if (key === undefined) {
    throw new StartupError(
      `${files.key} does not exist, but a certificate must be issued; ${remedy}`,
    )
  }
  if (!certificate.checkPrivateKey(key)) {
    throw new StartupError(`${files.key} does not belong to ${files.certificate}; ${remedy}`)
  }
  if (!certificate.ca) {
    throw new StartupError(`${files.certificate} is not the certificate of an authority; ${remedy}`)
  }
  if (certificate.validToDate < new Date()) {
    throw new StartupError(
      `${files.certificate} expired at ${certificate.validToDate.toISOString()}; remove ca.crt and ca.key to start a new authority`,
    )
  }
  if (!canSign(key)) throw cannotSign(files.key)
  return { certificate, key }
}

function cannotSign(path: string): StartupError {
  return new StartupError(`${path} must be an EC or RSA key to issue certificates`)
}

/** A pair that is missing, damaged or does not fit together is none; one that cannot be read is a problem. */
async function readServerPair(directory: string): Promise<KeyPair | undefined> {
  const files = serverFiles(directory)
  return readIfPresent(files.certificate, (certificate) =>
    readIfPresent(files.key, async (key) => {
      await Promise.all([certificate, key].map(requireReadable))
      return parseKeyPair(certificate, key).catch((error: unknown) => {
        if (error instanceof StartupError) return undefined
        throw error
      })
    }),
  )
}

/** Throws the reader's problem for a file that is there but cannot be read. */
async function requireReadable(source: PemSource): Promise<void> {
  if ('error' in source.state) await readPemBlocks(source)
}

function isIssuedBy(leaf: X509Certificate, authority: X509Certificate): boolean {
  return leaf.checkIssued(authority) && leaf.verify(authority.publicKey)
}

function isGood(leaf: X509Certificate, names: readonly string[]): boolean {
  const covers = (name: string): boolean =>
    (isIP(name) === 0 ? leaf.checkHost(name) : leaf.checkIP(name)) !== undefined
  return leaf.validToDate.getTime() > Date.now() + renewBeforeMs && names.every(covers)
}

async function keepReplaced(files: { certificate: string; key: string }): Promise<void> {
  await rename(files.key, `${files.key}.replaced`)
  await rename(files.certificate, `${files.certificate}.replaced`)
}

async function readIfPresent<T>(
  path: string,
  parse: (source: PemSource) => Promise<T>,
): Promise<T | undefined> {
  const [state] = await readStates([path])
  if (state === undefined || ('error' in state && state.error.code === 'ENOENT')) return undefined
  return parse({ setting: 'quickstart', path, state })
}

function authorityFiles(directory: string) {
  return { certificate: join(directory, 'ca.crt'), key: join(directory, 'ca.key') }
}

function serverFiles(directory: string) {
  return { certificate: join(directory, 'server.crt'), key: join(directory, 'server.key') }
}

function toPem(key: KeyObject): string {
  return String(key.export({ type: 'pkcs8', format: 'pem' }))
}

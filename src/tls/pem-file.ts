import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readlink } from 'node:fs/promises'
import { describeReadProblem } from '../lib/file-problem.ts'
import type { FileState } from '../lib/file-watch.ts'
import { StartupError } from '../lib/startup-error.ts'

/** A file named by a setting, e.g. `http.tls.certificate`, with what it held when it was read. */
export type PemSource = {
  readonly setting: string
  readonly path: string
  readonly state: FileState
}

/** One `-----BEGIN label-----` block with its armour. */
export type PemBlock = { readonly label: string; readonly text: string }

const block = /-----BEGIN ([A-Z0-9 ]+)-----(?:(?!-----)[\s\S])*-----END \1-----/g

/**
 * Splits a PEM file into its blocks, whatever stands between them.
 * @throws StartupError one line that says why the file is of no use and what to do
 */
export async function readPemBlocks({ setting, path, state }: PemSource): Promise<PemBlock[]> {
  const problem = (text: string) => new StartupError(`${setting}: ${path} ${text}`)
  if ('error' in state)
    throw problem((await describeDeadLink(path, state.error)) ?? describeReadProblem(state.error))

  const { bytes } = state
  if (bytes.length === 0) throw problem('is empty; a certificate tool may have failed half-way')
  if (bytes[0] === 0x30) throw problem(describeBinary(path, bytes))

  const text = bytes.toString('utf8')
  const blocks = [...text.matchAll(block)].map(([text, label = '']) => ({ label, text }))
  const begun = text.split('-----BEGIN ').length - 1
  if (begun > blocks.length) throw problem('breaks off inside a PEM block; copy the file again')
  if (begun === 0) throw problem('holds no PEM text (-----BEGIN …-----); is it the right file?')
  return blocks
}

/** True for the labels of PKCS#1, PKCS#8 (plain and encrypted) and SEC1 private keys. */
export function isPrivateKey({ label }: PemBlock): boolean {
  return label.endsWith('PRIVATE KEY')
}

/** True for a certificate; anything else that may stand in a PEM file is not one. */
export function isCertificate({ label }: PemBlock): boolean {
  return label === 'CERTIFICATE'
}

/** certbot's live/ holds links into ../../archive/, so a mount of live/ alone leaves them dangling. */
async function describeDeadLink(
  path: string,
  { code }: NodeJS.ErrnoException,
): Promise<string | undefined> {
  const target = code === 'ENOENT' ? await readlink(path).catch(() => undefined) : undefined
  if (target === undefined) return undefined
  return `is a link to ${target}, which does not exist here; mount the folder that holds both (for certbot the parent of live/ and archive/)`
}

function describeBinary(path: string, der: Buffer): string {
  if (parses(() => new X509Certificate(der))) {
    return `is DER, not PEM; convert it: openssl x509 -inform der -in ${path} -out NEW.pem`
  }
  const types = ['pkcs8', 'pkcs1', 'sec1'] as const
  if (types.some((type) => parses(() => createPrivateKey({ key: der, format: 'der', type })))) {
    return `is DER, not PEM; convert it: openssl pkey -inform der -in ${path} -out NEW.pem`
  }
  return `is binary, not PEM; if it is PKCS#12, convert it: openssl pkcs12 -in ${path} -noenc -out NEW.pem`
}

function parses(parse: () => unknown): boolean {
  try {
    parse()
    return true
  } catch {
    return false
  }
}

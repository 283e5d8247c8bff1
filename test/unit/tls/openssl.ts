import { execFile } from 'node:child_process'
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { issueServerCertificate } from '../../../src/tls/authority.ts'

const run = promisify(execFile)

/** Runs the openssl program in a folder and returns what it printed. */
export async function openssl(folder: string, ...args: string[]): Promise<string> {
  const { stdout } = await run('openssl', args, { cwd: folder })
  return stdout
}

export type MadePair = { certificate: string; key: string }

type MakeOptions = {
  /** Arguments of `openssl req -newkey`. */
  newkey?: readonly string[]
  subject?: string
  extensions?: readonly string[]
  issuer?: MadePair
}

export const ec = ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256']

/** A certificate with its key as NAME.crt and NAME.key, self-signed unless there is an `issuer`. */
export async function makePair(
  folder: string,
  name: string,
  {
    newkey = ec,
    subject = `/CN=${name}`,
    extensions = ['subjectAltName=DNS:localhost,IP:127.0.0.1'],
    issuer,
  }: MakeOptions = {},
): Promise<MadePair> {
  const pair = { certificate: join(folder, `${name}.crt`), key: join(folder, `${name}.key`) }
  await openssl(
    folder,
    ...['req', '-x509', '-nodes', '-days', '30', '-subj', subject],
    ...['-newkey', ...newkey, '-keyout', pair.key, '-out', pair.certificate],
    ...extensions.flatMap((extension) => ['-addext', extension]),
    ...(issuer === undefined ? [] : ['-CA', issuer.certificate, '-CAkey', issuer.key]),
  )
  return pair
}

/** Root, intermediate and leaf; `chain` is leaf and intermediate in one text. */
export async function makeChain(folder: string) {
  const root = await makePair(folder, 'root', { extensions: [] })
  const intermediate = await makePair(folder, 'intermediate', { extensions: [], issuer: root })
  const leaf = await makePair(folder, 'leaf', {
    extensions: ['basicConstraints=critical,CA:FALSE', 'subjectAltName=DNS:localhost'],
    issuer: intermediate,
  })
  const texts = await Promise.all(
    [leaf, intermediate].map(({ certificate }) => readFile(certificate, 'utf8')),
  )
  return { root, intermediate, leaf, chain: texts.join('') }
}

/** A pair that expired in 2021; openssl's req cannot make one. */
export async function makeExpired(folder: string): Promise<MadePair> {
  const root = await makePair(folder, 'expired-root')
  const authority = {
    certificate: new X509Certificate(await readFile(root.certificate)),
    key: createPrivateKey(await readFile(root.key)),
  }
  const { certificate, key } = issueServerCertificate(authority, {
    names: ['localhost'],
    now: new Date('2020-01-01'),
  })
  const pair = { certificate: join(folder, 'expired.crt'), key: join(folder, 'expired.key') }
  await writeFile(pair.certificate, certificate)
  await writeFile(pair.key, key.export({ type: 'sec1', format: 'pem' }))
  return pair
}

import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { mustRun } from './process.ts'

export type Certificates = {
  /** Certificate of the authority, for clients to trust. */
  readonly authority: string
  /** The folder of that file, which holds nothing else: what container tools call a certificate folder. */
  readonly trusted: string
  readonly certificate: string
  readonly key: string
}

/** Names of the certificate that resolve only where a test makes them resolve. */
export const PRIVATE_NAMES = ['registry.test', 'mirror.test'] as const

const subjectNames = ['localhost', ...PRIVATE_NAMES].map((name) => `DNS:${name}`)

const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']

/** Makes an authority and a server certificate for localhost, 127.0.0.1 and `PRIVATE_NAMES` with openssl. */
export async function makeCertificates(folder: string): Promise<Certificates> {
  const at = (name: string): string => join(folder, name)
  const openssl = (...args: string[]): Promise<string> => mustRun('openssl', args)
  const trusted = at('trusted')
  const authority = join(trusted, 'ca.crt')
  await mkdir(trusted)
  await openssl(
    ...['req', '-x509', ...newKey, '-days', '2', '-subj', '/CN=Tidegate test authority'],
    ...['-keyout', at('authority.key'), '-out', authority],
  )
  await openssl(
    ...['req', ...newKey, '-subj', '/CN=localhost'],
    ...['-keyout', at('server.key'), '-out', at('server.csr')],
  )
  await writeFile(
    at('server.ext'),
    [
      `subjectAltName=${[...subjectNames, 'IP:127.0.0.1'].join(',')}`,
      'basicConstraints=CA:FALSE',
      'extendedKeyUsage=serverAuth',
    ].join('\n'),
  )
  await openssl(
    ...['x509', '-req', '-days', '2', '-in', at('server.csr'), '-extfile', at('server.ext')],
    ...['-CA', authority, '-CAkey', at('authority.key'), '-CAcreateserial'],
    ...['-out', at('server.crt')],
  )
  return { authority, trusted, certificate: at('server.crt'), key: at('server.key') }
}

import type { X509Certificate } from 'node:crypto'
import type { SecureContextOptions, TLSSocket, TlsOptions } from 'node:tls'
import type { Logger } from 'pino'
import { type FileState, readStates, watchFiles } from '../lib/file-watch.ts'
import { gatherProblems, StartupError } from '../lib/startup-error.ts'
import { cipherList } from './cipher-suites.ts'
import { parseCertificates, parseKeyPair } from './key-pair.ts'
import { type PemSource, readPemBlocks } from './pem-file.ts'
import { openSecureContext } from './secure-context.ts'

/** What to ask of client certificates; registry:2's names. It counts only when `clientcas` is set. */
export type ClientAuth =
  | 'request-client-cert'
  | 'require-any-client-cert'
  | 'verify-client-cert-if-given'
  | 'require-and-verify-client-cert'

/** The `http.tls` part of the configuration. */
export type TlsConfig = {
  readonly certificate: string
  readonly key: string
  readonly minimumtls: 'tls1.2' | 'tls1.3'
  /** OpenSSL names; empty means the safe default. */
  readonly ciphersuites: readonly string[]
  readonly clientcas: readonly string[]
  readonly clientauth: ClientAuth
}

export type CertificateInfo = {
  readonly subject: string
  /** DNS names and IP addresses the certificate is for. */
  readonly names: readonly string[]
  readonly expiresAt: Date
}

export type TlsServerMaterial = {
  readonly options: TlsOptions
  readonly certificate: CertificateInfo
  /** For the log: it serves, but clients may complain. */
  readonly warnings: readonly string[]
  /** What the files held; hand it to `watchTlsServerOptions` as `initial`. */
  readonly files: readonly FileState[]
}

type WatchHandlers = {
  log: Logger
  onReload: (
    options: SecureContextOptions,
    certificate: CertificateInfo,
    files: readonly FileState[],
  ) => void
  /** `files` of the load; without it the first look counts as a change. */
  initial?: readonly FileState[]
}

/**
 * Reads and checks the certificate, key and client authority files.
 * An expired certificate is only a warning: its renewal may be under way.
 * @throws StartupError with every problem, one line each
 */
export async function loadTlsServerOptions(tls: TlsConfig): Promise<TlsServerMaterial> {
  return checkMaterial(tls, await readStates(watchedPaths(tls)))
}

/**
 * Watches the files and calls `onReload` with options for `server.setSecureContext`, which keeps
 * the connections that are open. Files that do not fit together, break off, are gone, or hold an
 * expired certificate are logged as an error and change nothing.
 */
export function watchTlsServerOptions(
  tls: TlsConfig,
  { log, onReload, initial = [] }: WatchHandlers,
): AsyncDisposable {
  const reload = async (states: readonly FileState[]): Promise<void> => {
    const { options, certificate, warnings } = await checkMaterial(tls, states)
    if (certificate.expiresAt < new Date()) throw new StartupError(warnings)
    onReload(options, certificate, states)
    for (const warning of warnings) log.warn(warning)
    log.info({ certificate }, 'new certificate in use')
  }
  return watchFiles(watchedPaths(tls), initial, {
    onChange: (states) =>
      reload(states).catch((error: unknown) => {
        const problems = error instanceof StartupError ? error.problems : undefined
        log.error(
          problems ? { problems } : { err: error },
          'certificate files changed but cannot be used; the ones before stay in use',
        )
      }),
  })
}

/**
 * Why a connection fails the `clientauth` mode, or undefined when it is fine. To be asked on each
 * new connection when `clientcas` is not empty; a resumed session carries its first verdict.
 */
export function clientCertificateProblem(socket: TLSSocket, mode: ClientAuth): string | undefined {
  if (mode === 'request-client-cert') return undefined
  if (socket.getPeerX509Certificate() === undefined) {
    return mode === 'verify-client-cert-if-given' ? undefined : 'no client certificate was sent'
  }
  if (mode === 'require-any-client-cert' || socket.authorized) return undefined
  return `the client certificate was refused: ${socket.authorizationError}`
}

function watchedPaths({ certificate, key, clientcas }: TlsConfig): string[] {
  return [certificate, key, ...clientcas]
}

async function checkMaterial(
  tls: TlsConfig,
  files: readonly FileState[],
): Promise<TlsServerMaterial> {
  const [certificate, key, ...authorities] = sources(tls, files)
  if (certificate === undefined || key === undefined) throw new TypeError('two files or more')
  const [pair, ca] = await gatherProblems([
    parseKeyPair(certificate, key),
    gatherProblems(authorities.map(readAuthority)),
  ])
  const options: TlsOptions = {
    key: pair.key,
    cert: pair.cert,
    minVersion: tls.minimumtls === 'tls1.3' ? 'TLSv1.3' : 'TLSv1.2',
    ciphers: cipherList(tls.ciphersuites),
    honorCipherOrder: true,
    ALPNProtocols: ['http/1.1'],
    ...(ca.length > 0 && clientOptions(tls.clientauth, ca)),
  }
  openSecureContext(`http.tls: ${tls.certificate} with ${tls.key}`, options)
  return { options, certificate: describe(pair.leaf), warnings: pair.warnings, files }
}

function sources(tls: TlsConfig, files: readonly FileState[]): PemSource[] {
  const settings = ['certificate', 'key', ...tls.clientcas.map((_, index) => `clientcas[${index}]`)]
  const paths = watchedPaths(tls)
  return files.map((state, index) => ({
    setting: `http.tls.${settings[index]}`,
    path: paths[index] ?? '',
    state,
  }))
}

async function readAuthority(source: PemSource): Promise<string> {
  return (await parseCertificates(source, await readPemBlocks(source))).map(String).join('')
}

/**
 * Only the strictest mode can be left to the handshake; for the others Node would cut every client
 * without a certificate off, so `clientCertificateProblem` decides.
 */
function clientOptions(mode: ClientAuth, ca: string[]): TlsOptions {
  return { ca, requestCert: true, rejectUnauthorized: mode === 'require-and-verify-client-cert' }
}

/** An empty subject is legal beside alternative names, and undefined in Node, whatever its types say. */
function describe({ subject = '', subjectAltName, validToDate }: X509Certificate): CertificateInfo {
  const names = (subjectAltName ?? '').matchAll(/(?:DNS|IP Address):([^,]*)/g)
  return {
    subject: subject.replaceAll('\n', ', '),
    names: [...names].map(([, name = '']) => name),
    expiresAt: validToDate,
  }
}

import { type ConnectionOptions, getCACertificates } from 'node:tls'
import { readStates } from '../lib/file-watch.ts'
import { gatherProblems, StartupError } from '../lib/startup-error.ts'
import { parseCertificates, parseKeyPair } from './key-pair.ts'
import { type PemSource, readPemBlocks } from './pem-file.ts'
import { openSecureContext } from './secure-context.ts'

/** The `upstream.tls` part of the configuration: paths of PEM files and the name to verify. */
export type UpstreamTls = {
  readonly ca?: string
  readonly certificate?: string
  readonly key?: string
  readonly servername?: string
}

/**
 * Options for `tls.connect` to an https upstream. The upstream's certificate is always verified:
 * against `ca` alone when given, else against Node's and the system's authorities, as users of
 * `update-ca-certificates` expect. The context is made once, because parsing hundreds of
 * authorities for each connection costs tens of milliseconds.
 * @throws StartupError with every problem, one line each
 */
export async function loadTlsClientOptions(tls: UpstreamTls): Promise<ConnectionOptions> {
  const [ca, pair] = await gatherProblems([readAuthorities(tls), readClientPair(tls)])
  return {
    secureContext: openSecureContext('upstream.tls', {
      ca,
      ...(pair && { cert: pair.cert, key: pair.key }),
      minVersion: 'TLSv1.2',
    }),
    ALPNProtocols: ['http/1.1'],
    ...(tls.servername !== undefined && { servername: tls.servername }),
  }
}

async function readAuthorities({ ca }: UpstreamTls): Promise<string[]> {
  if (ca === undefined) return [...getCACertificates('default'), ...getCACertificates('system')]
  const source = await readSource('upstream.tls.ca', ca)
  return (await parseCertificates(source, await readPemBlocks(source))).map(String)
}

async function readClientPair({ certificate, key }: UpstreamTls) {
  if (certificate === undefined && key === undefined) return undefined
  if (certificate === undefined || key === undefined) {
    const [given, missing] = key === undefined ? ['certificate', 'key'] : ['key', 'certificate']
    throw new StartupError(
      `upstream.tls.${missing}: missing, but upstream.tls.${given} is set; set both or neither`,
    )
  }
  return parseKeyPair(
    await readSource('upstream.tls.certificate', certificate),
    await readSource('upstream.tls.key', key),
  )
}

async function readSource(setting: string, path: string): Promise<PemSource> {
  const [state] = await readStates([path])
  if (state === undefined) throw new TypeError('one path has one state')
  return { setting, path, state }
}

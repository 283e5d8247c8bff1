import { mkdtempDisposable, readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import tls from 'node:tls'
import type { UpstreamTarget } from '../../../src/relay/upstream-socket.ts'
import { makePair } from '../tls/openssl.ts'
import { type RawServer, startRawServer } from './support.ts'

export type TlsServer = { readonly server: RawServer; readonly trusting: UpstreamTarget }

/** A raw server behind TLS, and how to reach it with the right authority. */
export async function startTlsServer(
  onSocket: (socket: tls.TLSSocket) => void,
): Promise<TlsServer> {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'tidegate-relay-'))
  const pair = await makePair(folder.path, 'registry')
  const cert = await readFile(pair.certificate)
  const key = await readFile(pair.key)
  const options = { isServer: true, secureContext: tls.createSecureContext({ cert, key }) }
  const server = await startRawServer((socket) => {
    const secure = new tls.TLSSocket(socket, options)
    secure.on('error', () => {}) // tests break connections on purpose
    onSocket(secure)
  })
  const trusting: UpstreamTarget = { ...server.target, tls: { ca: cert, servername: 'localhost' } }
  return { server, trusting }
}

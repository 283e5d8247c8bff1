import { once } from 'node:events'
import { mkdtempDisposable, readFile } from 'node:fs/promises'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import tls from 'node:tls'
import { type ListenerOptions, openListener } from '../../../src/server/listener.ts'
import { captureLog } from '../http/support.ts'
import { makePair } from '../tls/openssl.ts'

/** A listener on a free port; disposing it cuts off what is left. */
export async function startListener(extra: Partial<Omit<ListenerOptions, 'log'>> = {}) {
  const { log, lines } = captureLog()
  const listener = await openListener({
    listen: { host: '127.0.0.1', port: 0 },
    tls: undefined,
    refusePeer: () => undefined,
    timeouts: { headers: 10_000, keepalive: 10_000 },
    maxConnections: 100,
    onRequest: (_, res) => void res.end('ok'),
    ...extra,
    log,
  })
  return {
    listener,
    lines,
    port: Number(new URL(listener.url).port),
    async [Symbol.asyncDispose]() {
      await listener.drain(0)
    },
  }
}

/** A certificate with its key, made for this run. */
export async function makeTlsOptions(): Promise<{ cert: Buffer; key: Buffer }> {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'tidegate-server-'))
  const pair = await makePair(folder.path, 'server')
  return { cert: await readFile(pair.certificate), key: await readFile(pair.key) }
}

/** A client's connection and everything that came back on it so far. */
export type Client = { readonly socket: net.Socket; text: string; closed: boolean }

/** Connects, over TLS if there are options for it, and collects what comes back. */
export async function connect(port: number, options?: tls.ConnectionOptions): Promise<Client> {
  const socket =
    options === undefined
      ? net.connect(port, '127.0.0.1')
      : tls.connect({ host: '127.0.0.1', port, servername: 'localhost', ...options })
  const client: Client = { socket, text: '', closed: false }
  socket.on('data', (bytes: Buffer) => {
    client.text += bytes.toString('latin1')
  })
  socket.on('close', () => {
    client.closed = true
  })
  await once(socket, options === undefined ? 'connect' : 'secureConnect')
  socket.on('error', () => {}) // tests look at what arrived and whether it closed
  return client
}

import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import {
  type ConnectionOptions,
  connect,
  createServer,
  type Server,
  type TLSSocket,
  type TlsOptions,
} from 'node:tls'

/** `latestSession` is what a later connection resumes with; TLS 1.3 brings it some time after. */
type Connection = TLSSocket & { greeting: string; latestSession: () => Buffer | undefined }

export type TestServer = AsyncDisposable & {
  readonly server: Server
  /** Connects and waits until the server has spoken: with TLS 1.3 a refusal comes after the handshake. */
  connect(options?: ConnectionOptions): Promise<Connection>
}

/** A TLS server on a free port that greets with what `greet` says about the connection. */
export async function startTlsServer(
  options: TlsOptions,
  greet: (socket: TLSSocket) => string = () => 'hello',
): Promise<TestServer> {
  const sockets = new Set<TLSSocket>()
  const server = createServer(options, (socket) => {
    sockets.add(socket)
    socket.on('error', () => socket.destroy())
    socket.write(greet(socket))
  })
  server.on('tlsClientError', () => {}) // the client's side of the failure is what tests look at
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo // a TCP server that listens has one

  return {
    server,
    async connect(extra = {}) {
      const socket = connect({ host: '127.0.0.1', port, servername: 'localhost', ...extra })
      sockets.add(socket)
      socket.setEncoding('utf8')
      let session: Buffer | undefined
      socket.on('session', (latest) => {
        session = latest
      })
      await Promise.race([once(socket, 'readable'), once(socket, 'close')])
      const greeting: unknown = socket.read()
      if (typeof greeting !== 'string') throw new Error('closed without a word')
      return Object.assign(socket, { greeting, latestSession: () => session })
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

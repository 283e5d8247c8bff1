import { connect as connectPlain, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'

export type RawClient = Disposable & {
  readonly socket: Socket
  /** Everything received so far, latin1. */
  readonly received: string
  /** Resolves once `pattern` has been received. Rejects if the connection ends before. */
  waitFor(pattern: RegExp): Promise<RegExpExecArray>
  /** Resolves to everything received, once the connection has ended in whatever way. */
  ended(): Promise<string>
  send(text: string | Buffer): void
}

/** Where a server listens; with the PEM of an authority it speaks TLS. */
type Server = { readonly port: number; readonly ca?: string }

/** A client that says exactly what a test wants. */
export async function openRawClient({ port, ca }: Server): Promise<RawClient> {
  const host = '127.0.0.1'
  const socket =
    ca === undefined
      ? connectPlain({ port, host })
      : connectTls({ port, host, ca, servername: 'localhost' })
  let received = ''
  let waiting: (() => void)[] = []
  const closed = Promise.withResolvers<string>()
  const wake = (): void => {
    const woken = waiting
    waiting = []
    for (const resume of woken) resume()
  }
  socket.on('data', (bytes: Buffer) => {
    received += bytes.toString('latin1')
    wake()
  })
  socket.on('error', () => {})
  socket.on('close', () => {
    closed.resolve(received)
    wake()
  })
  await new Promise<void>((resolve, reject) => {
    socket.once(ca === undefined ? 'connect' : 'secureConnect', resolve).once('error', reject)
  })
  return {
    socket,
    get received() {
      return received
    },
    async waitFor(pattern) {
      for (;;) {
        const match = pattern.exec(received)
        if (match !== null) return match
        if (socket.destroyed) throw new Error(`connection ended without ${pattern}: ${received}`)
        await new Promise<void>((resolve) => waiting.push(resolve))
      }
    },
    ended: () => closed.promise,
    send: (text) => void socket.write(text),
    [Symbol.dispose]: () => void socket.destroy(),
  }
}

import { connect, type TLSSocket } from 'node:tls'
import type { Front } from './front.ts'

export type RawClient = Disposable & {
  readonly socket: TLSSocket
  /** Everything received so far, latin1. */
  readonly received: string
  /** Resolves once `pattern` has been received. Rejects if the connection ends before. */
  waitFor(pattern: RegExp): Promise<RegExpExecArray>
  /** Resolves to everything received, once the connection has ended in whatever way. */
  ended(): Promise<string>
  send(text: string | Buffer): void
}

/** A client that says exactly what a test wants, over TLS. */
export async function openRawClient(front: Front): Promise<RawClient> {
  const socket = connect({
    port: front.port,
    host: '127.0.0.1',
    ca: front.ca,
    servername: 'localhost',
  })
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
    socket.once('secureConnect', resolve).once('error', reject)
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

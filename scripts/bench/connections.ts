import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect, type TLSSocket } from 'node:tls'
import type { Server, Workspace } from './workspace.ts'

/** A TLS connection that shook hands; the caller destroys it. What breaks it later is ignored. */
export async function openConnection(
  { authority }: Workspace,
  { port }: Server,
): Promise<TLSSocket> {
  const socket = connect({ port, host: '127.0.0.1', ca: readFileSync(authority) })
  await once(socket, 'secureConnect')
  socket.on('error', () => {})
  return socket
}

/** So many connections, 50 at a time, after `use` did something with each. */
export async function openConnections(
  count: number,
  open: () => Promise<TLSSocket>,
  use: (socket: TLSSocket) => Promise<unknown>,
): Promise<TLSSocket[]> {
  const sockets: TLSSocket[] = []
  while (sockets.length < count) {
    const batch = Array.from({ length: Math.min(50, count - sockets.length) }, async () => {
      const socket = await open()
      await use(socket)
      return socket
    })
    sockets.push(...(await Promise.all(batch)))
  }
  return sockets
}

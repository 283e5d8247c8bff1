import http from 'node:http'
import net, { type AddressInfo } from 'node:net'

export type Backend = AsyncDisposable & { readonly url: string; readonly port: number }

/** An HTTP backend that answers as `handler` says. */
export async function startHttpBackend(handler: http.RequestListener): Promise<Backend> {
  return await listening(http.createServer(handler))
}

/** A backend that gets the bare connection and may break every rule of HTTP. */
export async function startRawBackend(onSocket: (socket: net.Socket) => void): Promise<Backend> {
  return await listening(
    net.createServer((socket) => {
      socket.on('error', () => {})
      onSocket(socket)
    }),
  )
}

async function listening(server: net.Server): Promise<Backend> {
  const sockets = new Set<net.Socket>()
  server.on('connection', (socket: net.Socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => void server.close(resolve))
    },
  }
}

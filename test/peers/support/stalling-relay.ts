import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'

export type StallingRelay = AsyncDisposable & {
  readonly port: number
  /** Resolves when the limit is reached and everything up to it was handed on. */
  readonly stalled: Promise<void>
  /** Closes every connection, and relays those to come without limit. */
  release(): void
}

export type RelayOptions = {
  readonly address: string
  readonly target: number
  /** Bytes from clients, over all connections, after which nothing more of theirs is handed on. */
  readonly limitBytes: number
}

/**
 * A network that stops in the middle of an upload: relays TCP to `target` on the same address. What
 * is cut off there is cut off in the middle for sure, however fast both sides are.
 */
export async function startStallingRelay(options: RelayOptions): Promise<StallingRelay> {
  const { address, target } = options
  const { promise: stalled, resolve } = Promise.withResolvers<void>()
  const sockets = new Set<Socket>()
  let left = options.limitBytes
  const server = createServer((client) => {
    const upstream = connect(target, address)
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(socket)
      socket.on('error', () => other.destroy())
      socket.on('close', () => {
        sockets.delete(socket)
        // What it had sent before it ended is still on its way to the other.
        if (!socket.readableEnded) other.destroy()
      })
    }
    upstream.pipe(client)
    client.on('data', (chunk) => {
      if (left <= 0) return void client.pause()
      left -= chunk.length
      const passed = left < 0 ? chunk.subarray(0, chunk.length + left) : chunk
      if (!upstream.write(passed, left <= 0 ? () => resolve() : undefined)) {
        client.pause()
        upstream.once('drain', () => client.resume())
      }
    })
    client.on('end', () => upstream.end())
  })
  server.listen(0, address)
  await once(server, 'listening')
  const bound = server.address()
  if (bound === null || typeof bound === 'string') throw new TypeError('no TCP address')
  const release = (): void => {
    left = Number.POSITIVE_INFINITY
    for (const socket of sockets) socket.destroy()
  }
  return {
    port: bound.port,
    stalled,
    release,
    [Symbol.asyncDispose]: async () => {
      release()
      await new Promise((closed) => server.close(closed))
    },
  }
}

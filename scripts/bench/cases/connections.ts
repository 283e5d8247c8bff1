import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import type { TLSSocket } from 'node:tls'
import { plainUrlOf, startBulkBackend } from '../backend.ts'
import type { Case, Sample } from '../case.ts'
import { openConnection, openConnections } from '../connections.ts'
import { startNginx, startSmallBackend } from '../fronts/nginx.ts'
import { startTidegate } from '../fronts/tidegate.ts'
import type { Server } from '../workspace.ts'

/** Time that buffers get to fill and memory to settle. */
const settleMs = 2000

type Held = {
  readonly count: number
  readonly open: () => Promise<TLSSocket>
  readonly use: (socket: TLSSocket) => Promise<unknown>
}

/** Connections on which nothing happens after their first request. */
export const idleConnections: Case = {
  name: 'idle-connections',
  title: 'Memory of idle TLS connections, one worker each',
  programs: ['nginx'],
  goals: [],
  async run({ workspace, scale }) {
    const upstream = plainUrlOf(await startSmallBackend(workspace))
    const start = [
      () => startTidegate(workspace, { upstream, workers: 1 }),
      () => startNginx(workspace, { upstream, workers: 1 }),
    ]
    return await measureEach(start, (server) => ({
      count: scale.idleConnections,
      open: () => openConnection(workspace, server),
      async use(socket) {
        socket.write('GET /v2/ HTTP/1.1\r\nHost: a\r\n\r\n')
        await once(socket, 'data')
      },
    }))
  },
}

/** Clients that ask for a blob and read none of it. */
export const stalledDownloads: Case = {
  name: 'stalled-downloads',
  title: 'Memory of stalled downloads, one worker each',
  programs: ['nginx'],
  goals: [],
  async run({ workspace, scale }) {
    const upstream = await startBulkBackend(workspace, scale)
    const start = [
      () => startTidegate(workspace, { upstream, workers: 1 }),
      () => startNginx(workspace, { upstream, workers: 1 }),
    ]
    return await measureEach(start, (server) => ({
      count: scale.stalledConnections,
      open: () => openConnection(workspace, server),
      async use(socket) {
        socket.write(`GET /v2/a/blobs/sha256:${'a'.repeat(64)} HTTP/1.1\r\nHost: a\r\n\r\n`)
      },
    }))
  },
}

async function measureEach(
  starts: readonly (() => Promise<Server>)[],
  holding: (server: Server) => Held,
): Promise<Record<string, Sample[]>> {
  const results: Record<string, Sample[]> = {}
  for (const start of starts) {
    const server = await start()
    await delay(settleMs)
    const idle = await server.memory()
    const { count, open, use } = holding(server)
    const sockets = await openConnections(count, open, use)
    await delay(settleMs)
    const growth = (await server.memory()) - idle
    results[server.name] = [
      { connections: count, 'KiB each': growth / count / 1024, 'MiB in all': growth / 1024 ** 2 },
    ]
    for (const socket of sockets) socket.destroy()
    await server.stop()
  }
  return results
}

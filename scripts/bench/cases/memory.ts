import { startBulkBackend } from '../backend.ts'
import type { Case, Goal, Sample } from '../case.ts'
import { startNginx } from '../fronts/nginx.ts'
import { startTidegate } from '../fronts/tidegate.ts'
import type { Server } from '../workspace.ts'
import { download, makeSparseFile, upload } from './proxy-streams.ts'

const mebibyte = 1024 ** 2

const goals = (direction: string): Goal[] => [
  {
    what: `memory while one 10 GiB layer passes ${direction}`,
    ...{ figure: `MiB above idle, ${direction}`, of: 'tidegate, 1 worker' },
    ...{ target: 64, better: 'lower' },
  },
  {
    what: `disk while one 10 GiB layer passes ${direction}`,
    ...{ figure: `bytes to disk, ${direction}`, of: 'tidegate, 1 worker' },
    ...{ target: 0, better: 'lower' },
  },
]

/** One large layer, once up and once down through fronts that were just started; no access log. */
export const memory: Case = {
  name: 'memory',
  title: 'Memory and disk while one large layer passes',
  programs: ['curl', 'nginx'],
  goals: [...goals('up'), ...goals('down')],
  async run({ workspace, scale }) {
    const bytes = scale.layerBytes
    const upstream = await startBulkBackend(workspace, { bytes })
    const file = makeSparseFile(workspace, bytes)
    const isLogged = false
    const starts = [
      () =>
        startTidegate(workspace, { name: 'tidegate, 1 worker', upstream, workers: 1, isLogged }),
      () => startTidegate(workspace, { upstream, isLogged }),
      () => startNginx(workspace, { upstream }),
    ]
    const results: Record<string, Sample[]> = {}
    for (const start of starts) {
      const up = await measureLayer('up', start, (server) => upload(workspace, server, file))
      const down = await measureLayer('down', start, (server) => download(workspace, server))
      results[up.name] = [{ ...up.sample, ...down.sample }]
    }
    return results
  },
}

async function measureLayer(
  direction: 'up' | 'down',
  start: () => Promise<Server>,
  transfer: (server: Server) => Promise<void>,
): Promise<{ name: string; sample: Sample }> {
  const server = await start()
  const idle = await server.memory()
  const written = await server.writtenToDisk()
  await transfer(server)
  const sample = {
    [`MiB above idle, ${direction}`]: ((await server.peakMemory()) - idle) / mebibyte,
    [`bytes to disk, ${direction}`]: (await server.writtenToDisk()) - written,
  }
  await server.stop()
  return { name: server.name, sample }
}

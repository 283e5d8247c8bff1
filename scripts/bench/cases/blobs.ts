import { rmSync } from 'node:fs'
import type { Case, Goal, Sample } from '../case.ts'
import { curl, measureStream, urlOf, warmUpsOf } from '../load.ts'
import { asUser, makeBlob, makeRegistries, push, startAll } from '../registries.ts'
import type { Server } from '../workspace.ts'

const fronts = { of: 'tidegate', than: 'docker-registry' } as const

const goal = (what: string, figure: string, limit: Pick<Goal, 'target' | 'better'>): Goal => ({
  what: `${what} vs docker-registry 2.8`,
  ...{ figure, ...fronts, ...limit },
})

/** One blob at a time that nobody has yet. */
export const registryPush: Case = {
  name: 'push',
  title: 'Push of a blob: TLS, users, own store, POST + PATCH + PUT, one stream',
  programs: ['curl', 'docker-registry'],
  goals: [
    goal('push, MB/s,', 'MB/s', { target: 2.5, better: 'higher' }),
    goal('push, CPU per GiB,', 'CPU s/GiB', { target: 0.5, better: 'lower' }),
  ],
  async run({ workspace, scale, alternate }) {
    const servers = await startAll(makeRegistries(workspace))
    const measure = async (server: Server): Promise<Sample> => {
      const blob = await makeBlob(workspace, scale.blobBytes)
      const sample = await measureStream(server, scale.blobBytes, () =>
        push(workspace, server, blob),
      )
      rmSync(blob.file)
      return sample
    }
    return await alternate(servers, measure, warmUpsOf(scale, scale.blobBytes))
  },
}

/** The same blob again and again, from the page cache. */
export const registryPull: Case = {
  name: 'pull',
  title: 'Pull of a blob: TLS, users, own store, one stream',
  programs: ['curl', 'docker-registry'],
  goals: [
    goal('pull, MB/s,', 'MB/s', { target: 1, better: 'higher' }),
    goal('pull, CPU per GiB,', 'CPU s/GiB', { target: 1.2, better: 'lower' }),
  ],
  async run({ workspace, scale, alternate }) {
    const servers = await startAll(makeRegistries(workspace))
    const blob = await makeBlob(workspace, scale.blobBytes)
    for (const server of servers) await push(workspace, server, blob)
    // Four in a row on one connection, lest curl's start count for more than the blob.
    const times = 4
    const measure = (server: Server): Promise<Sample> => {
      const url = urlOf(server, `/v2/bench/blobs/${blob.digest}`)
      const urls = Array.from({ length: times }, () => ['-o', '/dev/null', url]).flat()
      return measureStream(server, scale.blobBytes * times, () =>
        curl(workspace, [...asUser, ...urls]),
      )
    }
    return await alternate(servers, measure, warmUpsOf(scale, scale.blobBytes * times))
  },
}

import type { Case, Goal } from '../case.ts'
import { measureGets, measureHeads, smallWarmUps } from '../load.ts'
import { fillStore, makeRegistries, manifestType, startAll } from '../registries.ts'
import type { Server } from '../workspace.ts'

/** A tag's manifest, which is what clients ask for most. */
const request = {
  path: '/v2/team/app-0/manifests/v0',
  hasUser: true,
  headers: [`Accept: ${manifestType}`],
}

const fillOne = (store: string): void => fillStore(store, { repositories: 1, tags: 1 })

const goal = (method: string): Goal => ({
  what: `manifest ${method} with users, requests/s, vs docker-registry 2.8`,
  ...{ figure: 'requests/s', of: 'tidegate', than: 'docker-registry' },
  ...{ target: 15, better: 'higher' },
})

export const manifestGet: Case = {
  name: 'manifest-get',
  title: 'GET of a tag’s manifest: TLS, users (bcrypt, cost 5), own store, 16 connections',
  programs: ['wrk', 'docker-registry'],
  goals: [goal('GET')],
  async run({ workspace, scale: { seconds }, alternate }) {
    const servers = await startAll(makeRegistries(workspace, fillOne))
    const measure = (server: Server) => measureGets(workspace, server, { ...request, seconds })
    return await alternate(servers, measure, smallWarmUps)
  },
}

export const manifestHead: Case = {
  name: 'manifest-head',
  title: 'HEAD of a tag’s manifest, the same way',
  programs: ['ab', 'docker-registry'],
  goals: [goal('HEAD')],
  async run({ workspace, scale: { seconds }, alternate }) {
    const servers = await startAll(makeRegistries(workspace, fillOne))
    const measure = (server: Server) => measureHeads(workspace, server, { ...request, seconds })
    return await alternate(servers, measure, smallWarmUps)
  },
}

import { plainUrlOf } from '../backend.ts'
import type { Case } from '../case.ts'
import { startCaddy } from '../fronts/caddy.ts'
import { startDockerRegistry } from '../fronts/docker-registry.ts'
import { startHaproxy } from '../fronts/haproxy.ts'
import { startHttpProxy } from '../fronts/http-proxy.ts'
import { startNginx, startSmallBackend } from '../fronts/nginx.ts'
import { startTidegate } from '../fronts/tidegate.ts'
import { measureGets, smallWarmUps } from '../load.ts'
import type { Server } from '../workspace.ts'

const figure = 'requests/s'

/** What a front can do with one process, or one thread, when it asks nobody for a password. */
export const smallAnonymous: Case = {
  name: 'small-anonymous',
  title: 'Small requests without users, one worker each: `GET /v2/`, 16 connections, proxied',
  programs: ['wrk', 'nginx', 'haproxy', 'caddy'],
  goals: (
    [
      ['nginx', 0.7],
      ['caddy', 1.8],
      ['http-proxy', 4],
    ] as const
  ).map(([than, target]) => ({
    what: `small requests without users, one worker each, vs ${than}`,
    ...{ figure, of: 'tidegate', than, target, better: 'higher' },
  })),
  async run({ workspace, scale, alternate }) {
    const upstream = plainUrlOf(await startSmallBackend(workspace))
    const fronts = [
      await startTidegate(workspace, { upstream, workers: 1 }),
      await startNginx(workspace, { upstream, workers: 1 }),
      await startHaproxy(workspace, { upstream, threads: 1 }),
      await startCaddy(workspace, { upstream, threads: 1 }),
      await startHttpProxy(workspace, { upstream }),
    ]
    const request = { path: '/v2/', seconds: scale.seconds }
    const measure = (front: Server) => measureGets(workspace, front, request)
    return await alternate(fronts, measure, smallWarmUps)
  },
}

/** The same with a password in every request, and with all the cores there are. */
export const smallAuthenticated: Case = {
  name: 'small-authenticated',
  title: 'Small requests with users (bcrypt, cost 5): `GET /v2/`, 16 connections',
  programs: ['wrk', 'nginx', 'docker-registry'],
  goals: [
    {
      what: 'small requests with users, proxied, vs nginx',
      ...{ figure, of: 'tidegate', than: 'nginx', target: 20, better: 'higher' },
    },
    {
      what: 'small requests with users, own store, vs docker-registry 2.8',
      ...{ figure, of: 'tidegate, own store', than: 'docker-registry' },
      ...{ target: 15, better: 'higher' },
    },
  ],
  async run({ workspace, scale, alternate }) {
    const upstream = plainUrlOf(await startSmallBackend(workspace))
    const store = (): string => workspace.makeFolder('store')
    const own = { name: 'tidegate, own store', store: store(), hasUsers: true }
    const fronts = [
      await startTidegate(workspace, { upstream, hasUsers: true }),
      await startTidegate(workspace, own),
      await startNginx(workspace, { upstream, hasUsers: true }),
      await startDockerRegistry(workspace, { store: store() }),
    ]
    const request = { path: '/v2/', seconds: scale.seconds, hasUser: true }
    const measure = (front: Server) => measureGets(workspace, front, request)
    return await alternate(fronts, measure, smallWarmUps)
  },
}

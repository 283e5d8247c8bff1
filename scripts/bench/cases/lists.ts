import type { Bench, Case, Goal, Results } from '../case.ts'
import { curl, measureGets, urlOf } from '../load.ts'
import { asUser, fillStore, makeRegistries } from '../registries.ts'

const goal = (when: string, figure: string): Goal => ({
  what: `first catalog page of 10,000 repositories, ${when}, vs docker-registry 2.8`,
  ...{ figure, of: 'tidegate', than: 'docker-registry', target: 50, better: 'higher' },
})

export const catalog: Case = {
  name: 'catalog',
  title: 'First page (n=100) of the catalog of 10,000 repositories: TLS, users, own store',
  programs: ['curl', 'wrk', 'docker-registry'],
  goals: [goal('in use', 'pages/s'), goal('after a start', 'pages/s at first')],
  run: (bench) =>
    measureList(bench, '/v2/_catalog?n=100', (store) =>
      fillStore(store, { repositories: bench.scale.names, tags: 1 }),
    ),
}

const fillTags =
  ({ scale }: Bench) =>
  (store: string): void =>
    fillStore(store, { repositories: 1, tags: scale.names })

export const tagsPage: Case = {
  name: 'tags-page',
  title: 'First page (n=100) of 10,000 tags, the same way',
  programs: ['curl', 'wrk', 'docker-registry'],
  goals: [],
  run: (bench) => measureList(bench, '/v2/team/app-0/tags/list?n=100', fillTags(bench)),
}

export const tagsAll: Case = {
  name: 'tags-all',
  title: 'All of 10,000 tags, the same way',
  programs: ['curl', 'wrk', 'docker-registry'],
  goals: [],
  run: (bench) => measureList(bench, '/v2/team/app-0/tags/list', fillTags(bench)),
}

/**
 * A server that was just started is asked once, after a login as clients have it; then again and again on
 * one connection for as long as a measurement of small requests takes.
 */
async function measureList(
  { workspace, scale: { seconds }, alternate }: Bench,
  path: string,
  fill: (store: string) => void,
): Promise<Results> {
  return await alternate(makeRegistries(workspace, fill), async ({ start }) => {
    const server = await start()
    const urls = ['/v2/', path].flatMap((each) => ['-o', '/dev/null', urlOf(server, each)])
    // Connecting and shaking hands is not what is asked here.
    const form = ['--write-out', '%{time_total} %{time_pretransfer}\n']
    const output = await curl(workspace, [...asUser, ...form, ...urls])
    const [end = Number.NaN, begin = Number.NaN] = (output.trim().split('\n')[1] ?? '')
      .split(' ')
      .map(Number)
    const load = { path, seconds, hasUser: true, connections: 1 }
    // Once for the compiler: it was just started.
    await measureGets(workspace, server, load)
    const { 'requests/s': pages = Number.NaN } = await measureGets(workspace, server, load)
    await server.stop()
    return {
      ...{ ms: 1000 / pages, 'ms at first': (end - begin) * 1000 },
      ...{ 'pages/s': pages, 'pages/s at first': 1 / (end - begin) },
    }
  })
}

import type { Bench, Case, Goal, Results } from '../case.ts'
import { curl, urlOf } from '../load.ts'
import { asUser, fillStore, makeRegistries } from '../registries.ts'
import { median } from '../rounds.ts'

const goal = (when: string, figure: string): Goal => ({
  what: `first catalog page of 10,000 repositories, ${when}, vs docker-registry 2.8`,
  ...{ figure, of: 'tidegate', than: 'docker-registry', target: 50, better: 'higher' },
})

export const catalog: Case = {
  name: 'catalog',
  title: 'First page (n=100) of the catalog of 10,000 repositories: TLS, users, own store',
  programs: ['curl', 'docker-registry'],
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
  programs: ['curl', 'docker-registry'],
  goals: [],
  run: (bench) => measureList(bench, '/v2/team/app-0/tags/list?n=100', fillTags(bench)),
}

export const tagsAll: Case = {
  name: 'tags-all',
  title: 'All of 10,000 tags, the same way',
  programs: ['curl', 'docker-registry'],
  goals: [],
  run: (bench) => measureList(bench, '/v2/team/app-0/tags/list', fillTags(bench)),
}

/** Requests of one list. V8 is done with the path of a request after some dozens. */
const times = 60

/** Many requests on one connection to a server that was just started, after a login as clients have it. */
async function measureList(
  { workspace, alternate }: Bench,
  path: string,
  fill: (store: string) => void,
): Promise<Results> {
  return await alternate(makeRegistries(workspace, fill), async ({ start }) => {
    const server = await start()
    const paths = ['/v2/', ...Array.from({ length: times }, () => path)]
    const urls = paths.flatMap((each) => ['-o', '/dev/null', urlOf(server, each)])
    // Connecting and shaking hands is not what is asked here.
    const form = ['--write-out', '%{time_total} %{time_pretransfer}\n']
    const output = await curl(workspace, [...asUser, ...form, ...urls])
    await server.stop()
    const [, first = Number.NaN, ...others] = output
      .trim()
      .split('\n')
      .map((line) => line.split(' ').map(Number))
      .map(([end = Number.NaN, begin = Number.NaN]) => (end - begin) * 1000)
    const ms = median(others)
    return {
      ...{ ms, 'ms at first': first },
      ...{ 'pages/s': 1000 / ms, 'pages/s at first': 1000 / first },
    }
  })
}

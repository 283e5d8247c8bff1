import { mkdtempDisposable, readdir, readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { type Peer, peerTest } from './support/peers.ts'
import { type Finished, must, run } from './support/process.ts'

const program = join(import.meta.dirname, '../../scripts/bench.ts')

function bench(args: readonly string[], ...variables: readonly string[]): Promise<Finished> {
  return run('env', [...variables, process.execPath, program, ...args])
}

const refusals: readonly [title: string, args: readonly string[], said: RegExp][] = [
  [
    'a case that there is not is refused with the names of those there are',
    ['--case', 'proxy-sideload'],
    /^bench: no case is called proxy-sideload; there are proxy-upload, .*logins\n$/,
  ],
  [
    'no rounds are refused',
    ['--rounds', '0'],
    /^bench: --rounds 0: expected a whole number above 0\n$/,
  ],
  ['an option that there is not is refused', ['--case', 'push', '--fast'], /^bench: .*--fast/],
]

for (const [title, args, said] of refusals) {
  test.serial(`bench: ${title}`, async (t) => {
    const { code, stdout, stderr } = await bench(args)
    t.is(code, 2)
    t.regex(stderr, said)
    t.is(stdout, '')
  })
}

test.serial('bench: a program that is missing is named, with what installs it', async (t) => {
  const { code, stderr } = await bench(['--case', 'small-anonymous'], 'PATH=/nowhere')
  t.is(code, 2)
  t.regex(stderr, /^bench: not installed: .*wrk.*; sudo npm run peers installs them\n$/)
})

const peers: readonly Peer[] = ['curl', 'nginx', 'haproxy', 'caddy', 'wrk', 'docker-registry']

peerTest(
  peers,
  'bench: a smoke run measures every front, prints ratios, writes JSON, and leaves nothing behind',
  async (t) => {
    await using folder = await mkdtempDisposable(join(tmpdir(), 'tidegate-'))
    const json = join(folder.path, 'bench.json')
    const chosen = ['proxy-download', 'small-authenticated'].flatMap((name) => ['--case', name])
    const finished = await bench(['--smoke', ...chosen, '--json', json], `TMPDIR=${folder.path}`)

    const printed = must(finished, 'bench')
    t.regex(printed, /^\| proxied download, MB\/s, vs nginx \| ≥ 1\.1× \| [0-9.,]+× \| /m)
    const { goals, cases } = JSON.parse(await readFile(json, 'utf8'))
    t.true(goals.length >= 4)
    // So small a stream may cost no tick of the clock that counts CPU time, on either side.
    const timed = goals.filter(({ what }: { what: string }) => !what.includes('CPU'))
    t.true(timed.length >= 2)
    for (const { measured, what } of timed) t.true(measured > 0 && measured < 1e6, what)
    t.deepEqual(
      cases.map(({ name }: { name: string }) => name),
      ['proxy-download', 'small-authenticated'],
    )
    const [download, small] = cases
    t.true(download.fronts['nginx as in articles'].median['MB/s'] > 0)
    t.true(download.fronts['http-proxy'].median['CPU s/GiB'] >= 0)
    t.is(small.fronts['docker-registry'].rounds.length, 1)
    t.true(small.fronts['tidegate, own store'].median['requests/s'] > 0)
    t.deepEqual(await readdir(folder.path), ['bench.json'])
  },
)

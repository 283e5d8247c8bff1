import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { deleteManifest, statusOf } from './support/api.ts'
import { PRIVATE_NAMES } from './support/certificates.ts'
import type { Client } from './support/clients.ts'
import { createDocker } from './support/docker-client.ts'
import { nonLoopbackAddress, startDockerd } from './support/dockerd.ts'
import { freePort } from './support/free-port.ts'
import { addVariant, makeImages } from './support/images.ts'
import { openInterchange } from './support/interchange.ts'
import { takeInventory } from './support/inventory.ts'
import { peerTest } from './support/peers.ts'
import { type Daemon, must } from './support/process.ts'
import { storedDigests } from './support/store-files.ts'
import { runProgram, startProgram } from './support/tidegate.ts'

type Quickstart = AsyncDisposable & {
  readonly daemon: Daemon
  /** What it tells the person at the terminal, line by line, in the words of its answer. */
  readonly lines: readonly string[]
}

/** Starts `quickstart`, as `npm start` does; resolves when it has told everything. */
async function startQuickstart(flags: readonly string[]): Promise<Quickstart> {
  await using stack = new AsyncDisposableStack()
  const daemon = stack.use(startProgram('quickstart', ...flags))
  const lines = await daemon.ready(() => {
    const printed = daemon.stdout()
    return printed.includes('Push an image') ? printed.split('\n') : undefined
  })
  const owned = stack.move()
  return { daemon, lines, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

/** What stands after a label in the printed advice. */
function advice({ lines }: Quickstart, pattern: RegExp): string {
  const found = lines.map((line) => pattern.exec(line)?.[1]).find((match) => match !== undefined)
  if (found === undefined) throw new Error(`no ${pattern} in:\n${lines.join('\n')}`)
  return found
}

peerTest(
  ['docker', 'openssl'],
  'docker follows the advice of a quickstart; its image outlives a restart; read-only says why not',
  async (t) => {
    await using stack = new AsyncDisposableStack()
    const folder = stack.use(await mkdtempDisposable(join(tmpdir(), 'quickstart-'))).path
    const dockerd = stack.use(await startDockerd())
    const images = await makeImages(folder, [1])
    const directory = join(folder, 'data')
    const config = join(directory, 'config.yml')
    const port = await freePort()
    const registry = `${PRIVATE_NAMES[0]}:${port}`
    const flags = [
      ...['--directory', directory, '--addr', `${nonLoopbackAddress()}:${port}`],
      ...['--hostname', PRIVATE_NAMES[0]],
    ]
    const authorityCertificate = join(directory, 'ca.crt')
    const clientOf = (repository: string): Client =>
      createDocker(dockerd.socket, {
        sandbox: dockerd,
        images,
        registry,
        repository,
        authorityCertificate,
      })
    const client = clientOf('app')

    const first = stack.use(await startQuickstart(flags))
    const trust = advice(first, /^ +docker +sudo (install .*)$/)
    must(await dockerd.run('sh', ['-c', trust]), trust)
    const login = advice(first, /^ +docker +(docker login .*)$/)
      .split(' ')
      .slice(1)
    const password = advice(first, /^ +password +(\S+) +\(/)
    const docker = ['--host', dockerd.socket]
    must(await dockerd.run('docker', [...docker, ...login, '--password-stdin'], password), 'login')
    const diffIds = await client.build()
    must(await client.push(), 'push')
    t.is(await first.daemon.stop(), 0)

    const second = stack.use(await startQuickstart(flags))
    t.false(second.lines.join('\n').includes(password))
    await client.forget()
    must(await client.pull(), 'pull after a restart')
    t.deepEqual((await client.pulled()).diffIds, diffIds)

    must(await runProgram('readonly', 'on', config), 'readonly on')
    const other = clientOf('other')
    await other.build()
    const refused = await other.push()
    t.not(refused.code, 0)
    t.regex(refused.stdout + refused.stderr, /read-only/)
    must(await client.pull(), 'pull while read-only')
    must(await runProgram('readonly', 'off', config), 'readonly off')
    must(await other.push(), 'push after read-only')
  },
)

peerTest(
  ['skopeo', 'docker-registry'],
  'gc and fsck beside a serving process: what was deleted is freed, the rest is whole',
  async (t) => {
    await using interchange = await openInterchange()
    const { store, push, images } = interchange
    const [big, small] = images
    await using served = await interchange.tidegate()
    const { api, tidegate } = served
    const variant = await addVariant(big, 'variant')
    await push(served, [big, 'multi'], 'a:multi')
    await push(served, [big, 'variant'], 'a:variant')
    await push(served, [big, 'v1'], 'a/b:v1')
    await push(served, [small, 'v1'], 'gone:v1')
    const all = await storedDigests(store)

    must(await tidegate.command('gc', '--grace', '0s'), 'gc of nothing')
    t.deepEqual(await storedDigests(store), all)

    await deleteManifest(api, 'a', 'variant')
    await deleteManifest(api, 'a', variant.digest)
    await deleteManifest(api, 'gone', small.image.digest)
    const kept = await takeInventory(api)
    must(await tidegate.command('gc', '--dry-run', '--grace', '0s'), 'gc --dry-run')
    t.deepEqual(await storedDigests(store), all)
    must(await tidegate.command('gc', '--grace', '0s'), 'gc')

    const left = Object.values(kept).flatMap(({ manifests, blobs }) => [
      ...Object.keys(manifests),
      ...blobs,
    ])
    t.deepEqual(await storedDigests(store), [...new Set(left)].sort())
    t.deepEqual(await takeInventory(api), kept)
    t.is(await statusOf(api, '/v2/gone/tags/list'), 404)
    must(await tidegate.command('fsck', '--rehash'), 'fsck')

    await push(served, [small, 'v1'], 'gone:v1')
    await push(served, [big, 'variant'], 'a:variant')
    t.deepEqual(await storedDigests(store), all)
    const again = await takeInventory(api)
    t.is(again['gone']?.tags['v1'], small.image.digest)
    await using theirs = await interchange.registry()
    t.deepEqual(await takeInventory(theirs.api), again)
  },
)

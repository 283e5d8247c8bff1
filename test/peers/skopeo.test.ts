import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PASSWORD, USER } from './support/credentials.ts'
import { type Fixtures, makeFixtures } from './support/fixtures.ts'
import { ask } from './support/https.ts'
import { digestOf, type Images, makeImages } from './support/images.ts'
import { type Peer, peerTest } from './support/peers.ts'
import { must } from './support/process.ts'
import { type Registry, startRegistry } from './support/registry.ts'
import { openSandbox } from './support/sandbox.ts'
import { startTidegate } from './support/tidegate.ts'

type Stage = AsyncDisposable & {
  readonly fixtures: Fixtures
  readonly images: Images
  readonly registry: Registry
  /** Host and port by which clients know the registry. */
  readonly host: string
  /** Copies one image or index, as it is, between a layout and the registry. */
  copy(direction: 'push' | 'pull', from: string, to: string): Promise<void>
}

async function setStage(): Promise<Stage> {
  await using stack = new AsyncDisposableStack()
  const fixtures = stack.use(await makeFixtures())
  const { certificates, htpasswd } = fixtures
  const images = await makeImages(fixtures.folder)
  const sandbox = stack.use(await openSandbox())
  const registry = stack.use(await startRegistry({ httpHost: 'https://wrong.example:9999' }))
  const tidegate = stack.use(
    await startTidegate({ upstream: registry.url, certificates, htpasswd }),
  )
  const copy: Stage['copy'] = async (direction, from, to) => {
    const side = direction === 'push' ? 'dest' : 'src'
    const args = [
      ...['copy', '--all', '--preserve-digests'],
      ...[`--${side}-cert-dir`, certificates.trusted, `--${side}-creds`, `${USER}:${PASSWORD}`],
      ...[from, to],
    ]
    must(await sandbox.run('skopeo', args), `skopeo copy ${from} ${to}`)
  }
  const owned = stack.move()
  return {
    fixtures,
    images,
    registry,
    host: `localhost:${tidegate.port}`,
    copy,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

const peers: readonly Peer[] = ['docker-registry', 'htpasswd', 'openssl', 'skopeo']

peerTest(peers, 'skopeo copies every platform of an index there and back', async (t) => {
  await using stage = await setStage()
  const { images, fixtures } = stage
  const remote = `docker://${stage.host}/team/app:multi`
  const copied = join(fixtures.folder, 'copied')
  await stage.copy('push', `oci:${images.layout}:multi`, remote)
  await stage.copy('pull', remote, `oci:${copied}:multi`)

  const stored = await readdir(join(copied, 'blobs', 'sha256'))
  const sent = await readdir(join(images.layout, 'blobs', 'sha256'))
  t.deepEqual(stored.sort(), sent.sort())
  for (const name of stored) {
    t.is(digestOf(await readFile(join(copied, 'blobs', 'sha256', name))), `sha256:${name}`)
  }
})

peerTest(
  peers,
  'skopeo mounts layers that another repository has instead of sending them again',
  async (t) => {
    await using stage = await setStage()
    const { images, host } = stage
    await stage.copy('push', `oci:${images.layout}:v1`, `docker://${host}/team/first:v1`)
    await stage.copy('push', `oci:${images.layout}:v1`, `docker://${host}/team/second:v1`)
    const uploads = stage.registry
      .accessLog()
      .split('\n')
      .filter((line) => line.includes('"POST /v2/team/second/'))
    for (const { digest } of images.layers) {
      const mounted = `from=team%2Ffirst&mount=${encodeURIComponent(digest)} HTTP/1.1" 201`
      t.true(
        uploads.some((line) => line.includes(mounted)),
        uploads.join('\n'),
      )
    }
  },
)

peerTest(peers, 'the Location of a mounted layer is one that the client can use', async (t) => {
  await using stage = await setStage()
  const { images, fixtures, host } = stage
  const [layer] = images.layers
  await stage.copy('push', `oci:${images.layout}:v1`, `docker://${host}/team/first:v1`)
  const query = new URLSearchParams({ from: 'team/first', mount: layer?.digest ?? '' })
  const uploads = `https://${host}/v2/team/second/blobs/uploads/?${query}`
  const mounted = await ask('POST', new URL(uploads), fixtures.certificates.authority)
  t.is(mounted.status, 201)
  const location = `https://${host}/v2/team/second/blobs/${layer?.digest}`
  t.is(mounted.headers.location, location)
  const blob = await ask('HEAD', new URL(location), fixtures.certificates.authority)
  t.is(blob.headers['content-length'], String(layer?.size))
})

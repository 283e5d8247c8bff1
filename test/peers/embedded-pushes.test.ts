import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { digestBy, requireStatus, statusOf } from './support/api.ts'
import { PASSWORD, USER } from './support/credentials.ts'
import { type EmbeddedStage, startEmbeddedStage } from './support/embedded-stage.ts'
import { type Fixtures, makeFixtures } from './support/fixtures.ts'
import { addVariant, type Images, makeImages } from './support/images.ts'
import { checkBlob, listTags, pullManifest, takeInventory } from './support/inventory.ts'
import { type Peer, peerTest } from './support/peers.ts'
import { type Daemon, type Finished, must, startDaemon } from './support/process.ts'
import { openSandbox } from './support/sandbox.ts'
import { startStallingRelay } from './support/stalling-relay.ts'

type Stage = AsyncDisposable & {
  readonly fixtures: Fixtures
  readonly images: Images
  readonly registry: EmbeddedStage
  /** Host and port by which clients know the registry. */
  readonly host: string
  /** Runs skopeo, which trusts the registry and has logged in. */
  readonly skopeo: (command: string, ...args: readonly string[]) => Promise<Finished>
}

async function setStage(): Promise<Stage> {
  await using stack = new AsyncDisposableStack()
  const fixtures = stack.use(await makeFixtures())
  const images = await makeImages(fixtures.folder, [1, 4])
  const sandbox = stack.use(await openSandbox())
  const registry = stack.use(await startEmbeddedStage(fixtures))
  const host = `localhost:${registry.tidegate.port}`
  const trust = ['--cert-dir', fixtures.certificates.trusted]
  const login = ['login', ...trust, '--username', USER, '--password', PASSWORD, host]
  must(await sandbox.run('skopeo', login), 'login')
  const owned = stack.move()
  return {
    fixtures,
    images,
    registry,
    host,
    skopeo: (command, ...args) => {
      const flags = command === 'copy' ? ['--dest-cert-dir', fixtures.certificates.trusted] : trust
      return sandbox.run('skopeo', [command, ...flags, ...args])
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

/** Pushes an image of the layout, as it is. */
async function push({ skopeo, images, host }: Stage, name: string, to: string): Promise<void> {
  const source = `oci:${images.layout}:${name}`
  const flags = ['--all', '--preserve-digests']
  must(await skopeo('copy', ...flags, source, `docker://${host}/${to}`), `push to ${to}`)
}

const peers: readonly Peer[] = ['htpasswd', 'openssl', 'skopeo']

peerTest(peers, 'skopeo finds every manifest as it was pushed, byte for byte', async (t) => {
  await using stage = await setStage()
  const { skopeo, images, host } = stage
  for (const [name, { digest, size }] of [
    ['v1', images.image],
    ['multi', images.index],
  ] as const) {
    await push(stage, name, `team/app:${name}`)
    const inspected = await skopeo('inspect', '--raw', `docker://${host}/team/app:${name}`)
    const raw = must(inspected, 'inspect --raw')
    t.is(digestBy('sha256', raw), digest)
    t.is(Buffer.byteLength(raw), size)
  }
  t.is((await takeInventory(stage.registry.api))['team/app']?.blobs.length, 4)
})

peerTest(peers, 'skopeo delete removes the image with its tags, and nothing else', async (t) => {
  await using stage = await setStage()
  const { skopeo, images, host, registry } = stage
  const other = await addVariant(images, 'other')
  await push(stage, 'v1', 'team/app:v1')
  await push(stage, 'v1', 'team/app:latest')
  await push(stage, 'other', 'team/app:other')
  await push(stage, 'v1', 'team/copy:v1')
  const before = await takeInventory(registry.api)

  must(await skopeo('delete', `docker://${host}/team/app:v1`), 'delete')
  t.deepEqual(await listTags(registry.api, 'team/app'), ['other'])
  for (const reference of ['v1', 'latest', images.image.digest]) {
    const gone = await skopeo('inspect', '--raw', `docker://${host}/team/app:${reference}`)
    t.not(gone.code, 0)
    t.is(await statusOf(registry.api, `/v2/team/app/manifests/${reference}`), 404, reference)
  }
  const after = await takeInventory(registry.api)
  t.deepEqual(after['team/app']?.tags, { other: other.digest })
  t.deepEqual(after['team/copy'], before['team/copy'])
  t.not((await skopeo('delete', `docker://${host}/team/app:v1`)).code, 0)
})

peerTest(peers, 'a tag is deleted without the image that it means', async (t) => {
  await using stage = await setStage()
  const { images, registry } = stage
  await push(stage, 'v1', 'team/app:v1')
  const { status } = await registry.api.send('DELETE', '/v2/team/app/manifests/v1')
  t.is(status, 202)
  t.deepEqual(await listTags(registry.api, 'team/app'), [])
  t.is(await statusOf(registry.api, '/v2/team/app/manifests/v1'), 404)
  const { digest } = await pullManifest(registry.api, 'team/app', images.image.digest)
  t.is(digest, images.image.digest)
})

peerTest(peers, 'eight pushes at once of images that share layers all arrive whole', async (t) => {
  await using stage = await setStage()
  const expected: Record<string, string> = {}
  for (let i = 0; i < 8; i += 1) {
    const { digest } = await addVariant(stage.images, `variant${i}`)
    expected[`team/app${i % 3}:variant${i}`] = digest
  }
  await Promise.all(
    Object.keys(expected).map((to) => push(stage, to.slice(to.indexOf(':') + 1), to)),
  )
  const found: Record<string, string> = {}
  for (const [repository, { tags }] of Object.entries(await takeInventory(stage.registry.api))) {
    for (const [tag, digest] of Object.entries(tags)) found[`${repository}:${tag}`] = digest
  }
  t.deepEqual(found, expected)
})

/** A blob on its way up with curl, over a network that stops in the middle. */
type Upload = {
  readonly content: Buffer
  /** The session's path and query. */
  readonly location: string
  /** The PATCH, which gets no further. */
  readonly curl: Daemon
}

const UPLOAD_BYTES = 12 << 20
const CUT_BYTES = 7 << 20

/** Begins an upload, and has `act` do something about it when the network has stopped. */
async function cutOff(stage: Stage, act: (upload: Upload) => Promise<void>): Promise<void> {
  const { registry, fixtures } = stage
  const { port: target } = registry.tidegate
  const content = randomBytes(UPLOAD_BYTES)
  const file = join(fixtures.folder, 'blob')
  await writeFile(file, content)
  const begun = await registry.api.send('POST', '/v2/team/app/blobs/uploads/')
  const { pathname, search } = new URL(begun.headers.location ?? '', `https://localhost:${target}`)
  const location = pathname + search

  await using relay = await startStallingRelay({
    address: '127.0.0.1',
    target,
    limitBytes: CUT_BYTES,
  })
  await using curl = startDaemon('curl', [
    ...['--silent', '--show-error', '--cacert', fixtures.certificates.authority],
    ...['--user', `${USER}:${PASSWORD}`, '--request', 'PATCH', '--upload-file', file],
    ...['--header', 'content-type: application/octet-stream'],
    `https://localhost:${relay.port}${location}`,
  ])
  await relay.stalled
  await act({ content, location, curl })
}

/**
 * Goes on as the specification says: asks what has arrived, sends the rest, and asks again when told
 * that it was out of order. Returns where it went on.
 */
async function resume({ api }: EmbeddedStage, { content, location }: Upload): Promise<number> {
  for (let attempt = 0; attempt < 5; attempt += 1) {
    const status = await api.send('GET', location)
    requireStatus(status, 204)
    const last = Number(/^0-(\d+)$/.exec(String(status.headers['range']))?.[1])
    // `0-0` stands for nothing as well as for one byte.
    const first = last === 0 ? 0 : last + 1
    const patched = await api.send('PATCH', location, {
      headers: {
        'content-type': 'application/octet-stream',
        'content-range': `${first}-${content.length - 1}`,
      },
      content: content.subarray(first),
    })
    if (patched.status === 416) continue
    requireStatus(patched, 202)
    return first
  }
  throw new Error('out of order again and again')
}

const interruptions: readonly (readonly [
  title: string,
  act: (upload: Upload, registry: EmbeddedStage) => Promise<void>,
])[] = [
  ['that curl broke off goes on where it stopped', ({ curl }) => curl.kill()],
  ['whose connection hangs goes on over another, where it stopped', async () => {}],
  [
    'goes on where it stopped after the registry was killed and started again',
    (_upload, registry) => registry.crash(),
  ],
]

for (const [title, interrupt] of interruptions) {
  peerTest([...peers, 'curl'], `an upload ${title}`, async (t) => {
    await using stage = await setStage()
    await cutOff(stage, async (upload) => {
      await interrupt(upload, stage.registry)
      const { content, location } = upload
      const first = await resume(stage.registry, upload)
      t.true(first > 0 && first <= CUT_BYTES, `went on at ${first}`)
      const digest = digestBy('sha256', content)
      const query = `${location.includes('?') ? '&' : '?'}digest=${digest}`
      const { status } = await stage.registry.api.send('PUT', location + query)
      t.is(status, 201)
      await checkBlob(stage.registry.api, 'team/app', digest)
    })
  })
}

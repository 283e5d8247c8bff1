import { randomBytes } from 'node:crypto'
import type { ExecutionContext } from 'ava'
import { type Api, deleteManifest, digestBy, requireStatus, statusOf } from './support/api.ts'
import { addVariant } from './support/images.ts'
import { during, type Interchange, openInterchange, type Served } from './support/interchange.ts'
import {
  checkBlob,
  type Inventory,
  listRepositories,
  listTags,
  pullManifest,
  takeInventory,
} from './support/inventory.ts'
import { type Peer, peerTest } from './support/peers.ts'
import { must } from './support/process.ts'
import { MANIFEST, pushRarities } from './support/rarities.ts'

const peers: readonly Peer[] = ['docker-registry', 'skopeo']

const DOCKER_LIST = 'application/vnd.docker.distribution.manifest.list.v2+json'
const OCTETS = { 'content-type': 'application/octet-stream' }

type LeftBehind = {
  /** Path of an upload session, without its query. */
  readonly upload: string
  readonly begin: Buffer
  /** Digest of a manifest that was deleted. */
  readonly deleted: string
}

/** Fills the folder as a registry that was in use for a while. */
async function fillWithRegistry(interchange: Interchange, served: Served): Promise<LeftBehind> {
  const { push, images } = interchange
  const [big, small] = images
  await push(served, [big, 'v1'], 'a:v1')
  await push(served, [big, 'v1'], 'a:latest')
  await push(served, [big, 'multi'], 'a:multi')
  await push(served, [big, 'v1'], 'a:schema2', '--format', 'v2s2')
  await push(served, [big, 'multi'], 'a:list', '--format', 'v2s2')
  await push(served, [big, 'v1'], 'a/b:v1')
  await push(served, [small, 'multi'], 'a/b:Upper.case_tag-1')
  const deleted = await addVariant(small, 'gone')
  await push(served, [small, 'gone'], 'a/b:gone')
  await deleteManifest(served.api, 'a/b', deleted.digest)

  const begun = await served.api.send('POST', '/v2/a/b/blobs/uploads/')
  const location = new URL(begun.headers.location ?? '')
  const begin = randomBytes(100_000)
  const path = location.pathname + location.search
  requireStatus(await served.api.send('PATCH', path, { headers: OCTETS, content: begin }), 202)
  return { upload: location.pathname, begin, deleted: deleted.digest }
}

/** Asserts that an upload which docker-registry began is there, and can be gone on with. */
async function assertGoesOn(t: ExecutionContext, api: Api, left: LeftBehind): Promise<void> {
  const status = await api.send('GET', left.upload)
  t.is(status.status, 204)
  t.is(status.headers['range'], `0-${left.begin.length - 1}`)
  const rest = randomBytes(50_000)
  const digest = digestBy('sha256', Buffer.concat([left.begin, rest]))
  const target = `${left.upload}?digest=${digest}`
  requireStatus(await api.send('PUT', target, { headers: OCTETS, content: rest }), 201)
  await checkBlob(api, 'a/b', digest)
}

peerTest(
  peers,
  'a folder goes from docker-registry to Tidegate and back, and every image is the same',
  async (t) => {
    await using interchange = await openInterchange()
    const { registry, tidegate, push, images } = interchange
    const [big, small] = images

    const { left, written } = await during(registry, async (served) => ({
      left: await fillWithRegistry(interchange, served),
      written: await takeInventory(served.api),
    }))
    t.is(written['a']?.manifests[written['a']?.tags['list'] ?? ''], DOCKER_LIST)

    const added = await during(tidegate, async (served) => {
      const { api } = served
      t.deepEqual(await takeInventory(api), written)
      t.deepEqual(await listRepositories(api), ['a', 'a/b'])
      t.deepEqual(await listTags(api, 'a'), ['latest', 'list', 'multi', 'schema2', 'v1'])
      for (const reference of ['gone', left.deleted]) {
        t.is(await statusOf(api, `/v2/a/b/manifests/${reference}`), 404)
      }
      await assertGoesOn(t, api, left)

      await push(served, [small, 'multi'], 'a:new')
      await push(served, [small, 'v1'], 'a:latest')
      await push(served, [small, 'v1'], 'c/d/e:v1')
      await deleteManifest(api, 'a', 'schema2')
      return takeInventory(api)
    })
    t.is(added['a']?.tags['latest'], small.image.digest)

    const more = await during(registry, async (served) => {
      const { api } = served
      t.deepEqual(await takeInventory(api), added)
      t.deepEqual(await listTags(api, 'a'), ['latest', 'list', 'multi', 'new', 'v1'])
      await push(served, [big, 'v1'], 'a:latest')
      await push(served, [big, 'multi'], 'f:multi')
      return takeInventory(api)
    })
    t.is(more['a']?.tags['latest'], big.image.digest)
    await during(tidegate, async (served) => {
      t.deepEqual(await takeInventory(served.api), more)
      must(await served.tidegate.command('fsck', '--rehash'), 'fsck')
    })
  },
)

peerTest(
  peers,
  'a folder that Tidegate alone has written is served by docker-registry, sha512 included',
  async (t) => {
    await using interchange = await openInterchange()
    const { registry, tidegate, push, images } = interchange
    const [big] = images
    const { written, rare } = await during(tidegate, async (served) => {
      await push(served, [big, 'v1'], 'a:v1')
      await push(served, [big, 'multi'], 'a:multi')
      await push(served, [big, 'v1'], 'a/b:schema2', '--format', 'v2s2')
      await push(served, [big, 'multi'], 'a/b:list', '--format', 'v2s2')
      const rare = await pushRarities(served.api)
      return { rare, written: await takeInventory(served.api) }
    })
    t.deepEqual(Object.keys(written['rare']?.tags ?? {}), ['index', 'short', 'untyped'])
    t.true(Object.hasOwn(written['rare']?.manifests ?? {}, rare.sha512))
    t.is(written['rare']?.blobs.filter((digest) => digest.startsWith('sha512:')).length, 2)

    await during(registry, async ({ api }) => {
      t.deepEqual(await takeInventory(api), written)
      t.deepEqual(await listRepositories(api), ['a', 'a/b', 'rare'])
      t.is((await pullManifest(api, 'rare', rare.artifact)).mediaType, MANIFEST)
    })
  },
)

peerTest(
  peers,
  'docker-registry and Tidegate serve one folder at once, and each sees the other’s changes at once',
  async (t) => {
    await using interchange = await openInterchange()
    const { push, images } = interchange
    const [big, small] = images
    await using theirs = await interchange.registry()
    await using ours = await interchange.tidegate()
    const both = [ours.api, theirs.api] as const
    const digestsOf = (repository: string, tag: string): Promise<string[]> =>
      Promise.all(both.map(async (api) => (await pullManifest(api, repository, tag)).digest))
    const agreed = async (): Promise<Inventory> => {
      const [seen, other] = await Promise.all(both.map(takeInventory))
      t.deepEqual(seen, other)
      return seen ?? {}
    }

    await push(ours, [big, 'multi'], 'a:multi')
    await push(theirs, [big, 'v1'], 'a:v1')
    t.deepEqual(Object.keys((await agreed())['a']?.tags ?? {}), ['multi', 'v1'])

    for (const [server, image] of [
      [theirs, small],
      [ours, big],
      [theirs, small],
    ] as const) {
      await push(server, [image, 'v1'], 'a:v1')
      const { digest } = image.image
      t.deepEqual(await digestsOf('a', 'v1'), [digest, digest])
    }

    await push(ours, [small, 'v1'], 'a:ours')
    await deleteManifest(ours.api, 'a', 'ours')
    t.is(await statusOf(theirs.api, '/v2/a/manifests/ours'), 404)
    t.deepEqual(Object.keys((await agreed())['a']?.tags ?? {}), ['multi', 'v1'])

    await deleteManifest(theirs.api, 'a', small.image.digest)
    for (const api of both) {
      t.is(await statusOf(api, '/v2/a/manifests/v1'), 404)
      t.is(await statusOf(api, `/v2/a/manifests/${small.image.digest}`), 404)
    }
    await deleteManifest(ours.api, 'a', big.index.digest)
    for (const api of both) t.is(await statusOf(api, '/v2/a/manifests/multi'), 404)
    t.deepEqual(await agreed(), {})
  },
)

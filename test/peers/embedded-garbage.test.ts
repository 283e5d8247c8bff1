import { randomBytes } from 'node:crypto'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import {
  blobsRoot,
  readonlyMark,
  repositoriesRoot,
  sweepsRoot,
  trashRoot,
} from '../../src/storage/layout.ts'
import { deleteManifest, requireStatus, statusOf } from './support/api.ts'
import { addVariant } from './support/images.ts'
import { openInterchange } from './support/interchange.ts'
import { type Inventory, pullManifest, takeInventory } from './support/inventory.ts'
import { type Peer, peerTest } from './support/peers.ts'
import { must } from './support/process.ts'
import { pushRarities } from './support/rarities.ts'
import { collectGarbage } from './support/registry.ts'
import { filesIn, storedDigests } from './support/store-files.ts'

const peers: readonly Peer[] = ['docker-registry', 'skopeo']

function referredTo(inventory: Inventory): string[] {
  const digests = Object.values(inventory).flatMap(({ manifests, blobs }) => [
    ...Object.keys(manifests),
    ...blobs,
  ])
  return [...new Set(digests)].sort()
}

/** Leaves in the store what only Tidegate puts there, some of it as after a kill. */
async function leaveOurThings(store: string): Promise<void> {
  const leave = async (path: string, content: string): Promise<void> => {
    const file = join(store, path)
    await mkdir(dirname(file), { recursive: true })
    await writeFile(file, content)
  }
  const id = '0b0e5b3e-7c5e-4d43-8a31-1f0b6f2f2f6f'
  await leave(readonlyMark, '')
  await leave(`${sweepsRoot}/${id}`, `${blobsRoot}/sha256/ab/${'ab'.repeat(32)}`)
  await leave(`${trashRoot}/${id}/data`, 'removed, but not yet')
  await leave(`${trashRoot}/${id}/link`, `sha256:${'ab'.repeat(32)}`)
  await leave(`${repositoriesRoot}/a/_uploads/${id}/startedat`, '2020-01-01T00:00:00Z')
  await leave(`${repositoriesRoot}/a/_uploads/${id}/data.${id}`, 'claimed by a killed process')
}

peerTest(
  peers,
  'docker-registry’s garbage-collect on our folder keeps every image and all that is ours',
  async (t) => {
    await using interchange = await openInterchange()
    const { store, push, images } = interchange
    const [big, small] = images
    await using served = await interchange.tidegate()
    const { api } = served
    await push(served, [big, 'v1'], 'a:v1')
    await push(served, [big, 'multi'], 'a/b:multi')
    await push(served, [big, 'multi'], 'a/b:list', '--format', 'v2s2')
    const rare = await pushRarities(api)
    const gone = await addVariant(small, 'gone')
    await push(served, [small, 'gone'], 'a:gone')
    await deleteManifest(api, 'a', gone.digest)
    const loose = await api.pushBlob('a', randomBytes(1000))
    const unfinished = await api.send('POST', '/v2/a/blobs/uploads/')
    requireStatus(unfinished, 202)
    const before = await takeInventory(api)
    await leaveOurThings(store)
    const ours = await filesIn(store, dirname(trashRoot))
    const links = await filesIn(store, repositoriesRoot)

    must(await collectGarbage(store, []), 'garbage-collect')
    t.deepEqual(await filesIn(store, dirname(trashRoot)), ours)
    t.deepEqual(await filesIn(store, repositoriesRoot), links)
    // The artifact has no tag, but it is a manifest of the repository.
    t.deepEqual(await storedDigests(store), [...referredTo(before), rare.artifact].sort())
    t.deepEqual(await takeInventory(api), before)
    t.is((await pullManifest(api, 'rare', rare.artifact)).digest, rare.artifact)

    t.is(await statusOf(api, `/v2/a/blobs/${loose}`), 404)
    const { pathname } = new URL(unfinished.headers.location ?? '', served.url)
    t.is(await statusOf(api, pathname), 204)
    requireStatus(await api.send('POST', '/v2/a/blobs/uploads/'), 405)
    await rm(join(store, readonlyMark))
    await push(served, [small, 'gone'], 'a:gone')
    t.is((await takeInventory(api))['a']?.tags['gone'], gone.digest)
  },
)

peerTest(
  peers,
  'docker-registry’s garbage-collect --delete-untagged keeps every tagged image; fsck mends the rest',
  async (t) => {
    await using interchange = await openInterchange()
    const { store, push, images } = interchange
    const [big, small] = images
    await using served = await interchange.tidegate()
    const { api } = served
    await push(served, [big, 'v1'], 'a:v1')
    await push(served, [small, 'v1'], 'a:moved')
    await push(served, [big, 'v1'], 'a:moved')
    await push(served, [small, 'v1'], 'a:untagged')
    await deleteManifest(api, 'a', 'untagged')
    await push(served, [big, 'v1'], 'a/b:schema2', '--format', 'v2s2')
    const before = await takeInventory(api)
    t.is((await pullManifest(api, 'a', small.image.digest)).digest, small.image.digest)

    must(await collectGarbage(store, ['--delete-untagged']), 'garbage-collect --delete-untagged')
    t.deepEqual(await storedDigests(store), referredTo(before))
    t.deepEqual(await takeInventory(api), before)
    t.is(await statusOf(api, `/v2/a/manifests/${small.image.digest}`), 404)

    // It leaves the layer links of what it removed.
    const checked = await served.tidegate.command('fsck')
    t.is(checked.code, 1)
    t.regex(checked.stdout, /^link-dangling: /m)
    must(await served.tidegate.command('fsck', '--repair'), 'fsck --repair')
    must(await served.tidegate.command('fsck', '--rehash'), 'fsck --rehash')
    t.deepEqual(await takeInventory(api), before)

    await push(served, [small, 'v1'], 'a:untagged')
    t.is((await takeInventory(api))['a']?.tags['untagged'], small.image.digest)
  },
)

import { execFile } from 'node:child_process'
import { open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import test, { type ExecutionContext } from 'ava'
import { blob, type Content } from '../specification/content.ts'
import { type Image, makeImage, makeLayers } from '../support/images.ts'
import { createRandom, randomContent } from '../support/random.ts'
import {
  type Answer,
  createRegistryClient,
  errorCodesOf,
  expectStatus,
  finish,
  patch,
  pullContent,
  pullImage,
  pushBlob,
  putManifest,
  type RegistryClient,
  startUpload,
  withDigest,
} from '../support/registry-client.ts'
import { mountSmallDisk, smallDiskProblem } from '../support/small-disk.ts'
import { offsetIn } from '../support/store-ledger.ts'
import { faultsIn, type StoreProcess, startStoreProcess } from '../support/store-process.ts'
import { faultsOf, readStore } from '../support/store-tree.ts'

const repo = 'full/app'
const mebibyte = 1024 ** 2
const run = promisify(execFile)

type Setting = {
  readonly disk: string
  readonly server: StoreProcess
  readonly client: RegistryClient
  /** What was pushed, as `v1`, while there was room. */
  readonly image: Image
  /** Takes all room but about `left` bytes. */
  fill(left?: number): Promise<void>
  makeRoom(): Promise<void>
}

const problem = await smallDiskProblem()

/** A test on a disk of 12 MiB of its own; where none can be mounted it is skipped, and says so. */
function diskTest(
  title: string,
  { filesystem = 'minfree: 0', options = 'size=12m' },
  use: (t: ExecutionContext, setting: Setting) => Promise<void>,
): void {
  if (problem !== undefined) {
    test.serial.skip(`${title} (skipped: ${problem})`, (t) => t.pass())
    return
  }
  test.serial(title, async (t) => {
    await using disk = await mountSmallDisk(options)
    const root = disk.path
    await using server = await startStoreProcess(root, { filesystem })
    using client = createRegistryClient(server.origin)
    const image = await pushFirst(client)
    const filler = join(root, 'filler')
    const fill = (left = 0): Promise<void> => takeRoom(filler, left)
    const makeRoom = (): Promise<void> => rm(filler)
    await use(t, { disk: root, server, client, image, fill, makeRoom })
    t.deepEqual(
      faultsIn(server).filter((fault) => !fault.includes('EROFS')),
      [],
    )
    t.deepEqual(faultsOf(await readStore(root)), [])
    await pullImage(client, repo, 'v1')
  })
}

async function pushFirst(client: RegistryClient): Promise<Image> {
  const random = createRandom(12)
  const image = makeImage(random, { shared: makeLayers(random, 2, 100_000), maxBytes: 1000 })
  await pushImage(client, image, 'v1')
  return image
}

async function pushImage(
  client: RegistryClient,
  { manifest, blobs }: Image,
  reference: string,
): Promise<void> {
  for (const part of blobs) await pushBlob(client, repo, part)
  expectStatus(await putManifest(client, { repo, reference }, manifest), 201)
}

/** Writes a file until the disk is full, and then gives back `left` bytes. */
async function takeRoom(path: string, left: number): Promise<void> {
  await using file = await open(path, 'a')
  for (let size = mebibyte; size >= 4096; ) {
    const { bytesWritten } = await file.write(Buffer.alloc(size)).catch(() => ({ bytesWritten: 0 }))
    if (bytesWritten < size) size /= 2
  }
  const { size } = await file.stat()
  await file.truncate(Math.max(0, size - left))
}

function content(seed: number, size: number): Content {
  return blob(randomContent(createRandom(seed), size))
}

/** Checks that an answer says that there is no room, as clients understand it. */
function checkFull(t: ExecutionContext, answer: Answer): void {
  t.is(answer.status, 507)
  t.deepEqual(errorCodesOf(answer), ['STORAGE_FULL'])
  t.regex(String(answer.headers['content-type']), /^application\/json/)
}

diskTest(
  'full disk: below the low-water mark no upload begins, and all else goes on',
  { filesystem: 'minfree: 4MiB' },
  async (t, { client, fill, makeRoom }) => {
    const late = content(1, 300_000)
    const begun = await startUpload(client, repo)
    await fill(3 * mebibyte)
    checkFull(t, await client.request('POST', `/v2/${repo}/blobs/uploads/`))
    const whole = `/v2/${repo}/blobs/uploads/?digest=${late.digest}`
    checkFull(t, await client.request('POST', whole, { body: late.bytes }))
    await pullImage(client, repo, 'v1')
    expectStatus(await patch(client, begun, { body: late.bytes, first: 0 }), 202)
    expectStatus(await finish(client, begun, late), 201)
    // Nothing in it is new, so it needs no room.
    const mount = `/v2/full/other/blobs/uploads/?mount=${late.digest}&from=${repo}`
    expectStatus(await client.request('POST', mount), 201)
    await makeRoom()
    await pushBlob(client, repo, content(2, 300_000))
  },
)

diskTest(
  'full disk: a chunk that does not fit is 507, and the same upload goes on once there is room',
  {},
  async (t, { client, fill, makeRoom }) => {
    const large = content(3, 4_000_000)
    const location = await startUpload(client, repo)
    expectStatus(
      await patch(client, location, { body: large.bytes.subarray(0, 1_000_000), first: 0 }),
      202,
    )
    await fill(mebibyte)
    const rest = large.bytes.subarray(1_000_000)
    checkFull(t, await patch(client, location, { body: rest, first: 1_000_000 }))
    await pullImage(client, repo, 'v1')
    const status = expectStatus(await client.request('GET', location), 204)
    const offset = offsetIn(status.headers.range)
    t.true(offset >= 1_000_000 && offset < 4_000_000)
    await makeRoom()
    const body = large.bytes.subarray(offset)
    expectStatus(await patch(client, location, { body, first: offset }), 202)
    expectStatus(await finish(client, location, large), 201)
    await pullContent(client, repo, { kind: 'blobs', reference: large.digest })
  },
)

diskTest(
  'full disk: an end with a last chunk that does not fit is 507, and can be sent again',
  {},
  async (t, { client, fill, makeRoom }) => {
    const large = content(4, 3_000_000)
    const location = await startUpload(client, repo)
    await fill(mebibyte)
    const headers = { 'Content-Type': 'application/octet-stream' }
    const path = withDigest(location, large.digest)
    checkFull(t, await client.request('PUT', path, { headers, body: large.bytes }))
    t.is((await client.request('HEAD', `/v2/${repo}/blobs/${large.digest}`)).status, 404)
    await makeRoom()
    const status = expectStatus(await client.request('GET', location), 204)
    const body = large.bytes.subarray(offsetIn(status.headers.range))
    expectStatus(await finish(client, location, { digest: large.digest, body }), 201)
    await pullContent(client, repo, { kind: 'blobs', reference: large.digest })
  },
)

diskTest(
  'full disk: a blob in one request that does not fit is 507 and leaves nothing',
  {},
  async (t, { disk, client, fill, makeRoom }) => {
    const large = content(5, 3_000_000)
    await fill(mebibyte)
    const path = `/v2/${repo}/blobs/uploads/?digest=${large.digest}`
    checkFull(t, await client.request('POST', path, { body: large.bytes }))
    t.deepEqual((await readStore(disk)).uploads, [])
    await makeRoom()
    expectStatus(await client.request('POST', path, { body: large.bytes }), 201)
  },
)

diskTest(
  'full disk: a manifest that does not fit is 507, its tag means what it meant, and it can be pushed later',
  {},
  async (t, { disk, client, image, fill, makeRoom }) => {
    const random = createRandom(6)
    const next = makeImage(random, { shared: makeLayers(random, 2, 1000), maxBytes: 1000 })
    for (const part of next.blobs) await pushBlob(client, repo, part)
    await fill()
    // Page by page until it fits: each time it gets one step further before it fails.
    for (let room = 0; ; room += 4096) {
      const answer = await putManifest(client, { repo, reference: 'v1' }, next.manifest)
      if (answer.status === 201) break
      checkFull(t, answer)
      const seen = await pullImage(client, repo, 'v1')
      t.true(seen.equals(image.manifest.bytes))
      const list = expectStatus(await client.request('GET', `/v2/${repo}/tags/list`), 200)
      t.deepEqual(JSON.parse(list.body.toString()).tags, ['v1'])
      if (room > mebibyte) return t.fail('it never fits')
      await rm(join(disk, 'filler'))
      await fill(room)
    }
    t.true((await pullImage(client, repo, 'v1')).equals(next.manifest.bytes))
    await makeRoom()
    await pushImage(client, image, 'v1')
  },
)

diskTest(
  'full disk: names that do not fit are 507 too, step by step, and nothing half-done shows',
  { options: 'size=12m,nr_inodes=120' },
  async (t, { disk, client, image }) => {
    const random = createRandom(7)
    const shared = makeLayers(random, 2, 1000)
    let pushed = 0
    for (let isFull = false; !isFull; pushed += 1) {
      const next = makeImage(random, { shared, maxBytes: 1000 })
      try {
        await pushImage(client, next, `t${pushed}`)
      } catch (error) {
        isFull = true
        t.regex(String(error), /507 instead of 20[12].*STORAGE_FULL/)
      }
      if (pushed > 100) return t.fail('the disk does not fill')
    }
    const { tags } = JSON.parse(
      (await client.request('GET', `/v2/${repo}/tags/list`)).body.toString(),
    ) as { tags: string[] }
    t.is(tags.length, pushed, 'v1 and all but the last')
    for (const tag of tags) await pullImage(client, repo, tag)
    t.deepEqual(faultsOf(await readStore(disk)), [])
    expectStatus(await client.request('HEAD', `/v2/${repo}/blobs/${image.blobs[0]?.digest}`), 200)
  },
)

diskTest(
  'full disk: deletion and collection work when nothing more fits, and make room',
  {},
  async (t, { client, server, image, fill }) => {
    const large = content(8, 3_000_000)
    await pushBlob(client, repo, large)
    await putManifest(client, { repo, reference: 'v2' }, image.manifest)
    await fill()
    const gc = async (): Promise<void> => {
      const args = ['src/cli.ts', 'gc', server.configFile, '--grace', '0s']
      await run(process.execPath, args)
    }
    expectStatus(await client.request('DELETE', `/v2/${repo}/manifests/v2`), 202)
    expectStatus(await client.request('DELETE', `/v2/${repo}/blobs/${large.digest}`), 202)
    // What the deletions gave back, to the last page.
    await fill()
    await t.notThrowsAsync(gc())
    await pushBlob(client, repo, content(9, 2_000_000))
  },
)

diskTest(
  'full disk: a disk that the system has made read-only still serves pulls',
  {},
  async (t, { disk, client, image }) => {
    await run('mount', ['-o', 'remount,ro', disk])
    try {
      await pullImage(client, repo, 'v1')
      const layer = `/v2/${repo}/blobs/${image.blobs[0]?.digest}`
      expectStatus(await client.request('HEAD', layer), 200)
      expectStatus(await client.request('GET', '/v2/_catalog'), 200)
      expectStatus(
        await client.request('GET', `/v2/${repo}/referrers/${image.manifest.digest}`),
        200,
      )
      const refused = await client.request('POST', `/v2/${repo}/blobs/uploads/`)
      t.true(refused.status >= 400)
      t.is(errorCodesOf(refused).length, 1)
    } finally {
      await run('mount', ['-o', 'remount,rw', disk])
    }
  },
)

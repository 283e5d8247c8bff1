import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempDisposable, readdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import test, { type ExecutionContext } from 'ava'
import { blob } from '../specification/content.ts'
import { makeLayers } from '../support/images.ts'
import { createRandom, randomContent } from '../support/random.ts'
import { openRawClient } from '../support/raw-client.ts'
import { createRegistryClient, expectStatus, pushBlob } from '../support/registry-client.ts'
import { brokenAmong, type Churn, churn, deleteImage, pullAlways } from '../support/store-churn.ts'
import { buryCollections, checkLater, trashEmptied } from '../support/store-leftovers.ts'
import { faultsIn, type StoreProcess, startStoreProcess } from '../support/store-process.ts'
import { contentsOf, faultsOf, readStore } from '../support/store-tree.ts'
import { visibleTags } from '../support/store-walk.ts'

const run = promisify(execFile)
const collector = 'test/support/collector.ts'

/** Collects `count` times beside the servers. Resolves to the number of blobs that went. */
async function collectOften(root: string, count: number): Promise<number> {
  const child = spawn(process.execPath, [collector, root, String(count)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [output, [code]] = await Promise.all([text(child.stdout), once(child, 'close')])
  if (code !== 0) throw new Error(`the collector ended with ${code}`)
  const reports = output.trim().split('\n')
  if (reports.length !== count) throw new Error(`${reports.length} collections instead of ${count}`)
  return reports.reduce((sum, report) => sum + Number(JSON.parse(report).removed ?? 0), 0)
}

/** `tidegate gc` without any grace, as an operator runs it. */
async function collectAll({ configFile }: StoreProcess): Promise<{ blobs: { removed: number } }> {
  const flags = ['--grace', '0s', '--untagged', 'delete', '--json']
  const { stdout } = await run(process.execPath, ['src/cli.ts', 'gc', configFile, ...flags])
  return JSON.parse(stdout)
}

/** Checks that exactly what is acknowledged is in the store, and nothing else. */
async function checkExact(
  t: ExecutionContext,
  root: string,
  images: Churn['images'],
): Promise<void> {
  const tree = await readStore(root)
  const wanted = contentsOf(images.values())
  t.deepEqual([...tree.blobs.keys()].sort(), wanted)
  t.deepEqual(faultsOf(tree), [])
  t.deepEqual([...new Set(tree.links.values())].sort(), wanted)
  t.deepEqual(tree.others, [])
}

test.serial(
  'collection: 50 clients that push images with shared layers during 20 collections lose nothing, and no byte stays',
  async (t) => {
    await using folder = await mkdtempDisposable(join(tmpdir(), 'tidegate-collect-'))
    const root = folder.path
    await using first = await startStoreProcess(root)
    await using second = await startStoreProcess(root)
    using one = createRegistryClient(first.origin)
    using two = createRegistryClient(second.origin)
    const clients = [one, two]
    const images: Churn['images'] = new Map()
    const shared = makeLayers(createRandom(1), 8, 150_000)
    let isOver = false
    const part = (index: number): Churn => ({
      ...{ clients, images, shared, isOver: () => isOver },
      random: createRandom(index),
      repo: `collect/r${index % 5}${index % 2 === 0 ? '' : '/deeper'}`,
      prefix: `c${index}`,
    })
    const pushing = Promise.all(Array.from({ length: 50 }, (_, index) => churn(part(index))))
    const pulling = Promise.all([101, 102, 103].map((index) => pullAlways(part(index))))
    // Whatever goes wrong in it shows below, when the collections are over.
    pushing.catch(() => {})
    const removed = await collectOften(root, 20).finally(() => {
      isOver = true
    })
    const pushes = await pushing
    t.deepEqual((await pulling).flat(), [])
    t.log(`${images.size} images stayed, ${removed} blobs were collected on the way,`)
    t.log(`${pushes.filter(({ tries }) => tries > 2).length} clients had to push something again`)
    t.true(removed > 0)

    const all = { clients, images, random: createRandom(9) }
    t.deepEqual(await brokenAmong(all, images.keys()), [])
    // All of one repository, and half of what the others have.
    for (const [index, [key, image]] of [...images].entries()) {
      const [repo = ''] = key.split(' ')
      if (index % 2 === 0 && repo !== 'collect/r0') continue
      images.delete(key)
      await deleteImage(one, repo, image)
    }
    t.true((await collectAll(first)).blobs.removed > 0)
    t.deepEqual(await brokenAmong(all, images.keys()), [])
    t.deepEqual((await visibleTags(two)).sort(), [...images.keys()].sort())
    await checkExact(t, root, images)
    t.deepEqual([...faultsIn(first), ...faultsIn(second)], [])
    for (const key of images.keys()) {
      const [repo = ''] = key.split(' ')
      await deleteImage(two, repo, images.get(key))
    }
    await collectAll(second)
    const left = await readdir(join(root, 'docker/registry/v2/repositories'), { recursive: true })
    t.deepEqual(left, [], 'no folder of an empty repository stays')
    await checkExact(t, root, new Map())
  },
)

test.serial(
  'collection: one that is killed at a random moment loses nothing, and the next goes on',
  async (t) => {
    await using folder = await mkdtempDisposable(join(tmpdir(), 'tidegate-collect-'))
    const root = folder.path
    await using server = await startStoreProcess(root)
    using client = createRegistryClient(server.origin)
    const clients = [client]
    const images: Churn['images'] = new Map()
    const shared = makeLayers(createRandom(2), 4, 50_000)
    let isOver = false
    const part = (index: number): Churn => ({
      ...{ clients, images, shared, isOver: () => isOver },
      ...{ random: createRandom(index), repo: 'collect/killed', prefix: `c${index}` },
    })
    const pushing = Promise.all(Array.from({ length: 8 }, (_, index) => churn(part(index))))
    pushing.catch(() => {})
    const random = createRandom(77)
    for (let round = 0; round < 5; round += 1) {
      const child = spawn(process.execPath, [collector, root, '1000'], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      // Its first collection is over; it is killed in one of the next.
      const closed = once(child, 'close')
      const first = await Promise.race([once(child.stdout, 'data'), closed.then(() => undefined)])
      t.truthy(first, 'a collection failed')
      child.stdout.resume()
      await delay(random(300))
      child.kill('SIGKILL')
      await closed
      await buryCollections(root)
    }
    isOver = true
    await pushing
    t.deepEqual(await brokenAmong(part(1), images.keys()), [])
    await collectAll(server)
    t.deepEqual(await brokenAmong(part(1), images.keys()), [])
    t.deepEqual(faultsIn(server), [])
    // What a killed process was removing or writing is cleared away by the next, and by fsck.
    await using again = await startStoreProcess(root)
    await trashEmptied(root)
    const { found, left } = await checkLater(root)
    t.deepEqual(
      Object.keys(found).filter((kind) => kind !== 'temporary-file'),
      [],
    )
    t.deepEqual(left, {})
    await checkExact(t, root, images)
    t.deepEqual(faultsIn(again), [])
  },
)

test.serial(
  'collection: a blob that is being pulled is sent to its end although it is collected',
  async (t) => {
    await using folder = await mkdtempDisposable(join(tmpdir(), 'tidegate-collect-'))
    await using server = await startStoreProcess(folder.path)
    using client = createRegistryClient(server.origin)
    const large = blob(randomContent(createRandom(5), 24_000_000))
    const path = `/v2/collect/pulled/blobs/${large.digest}`
    await pushBlob(client, 'collect/pulled', large)
    using reader = await openRawClient(server)
    reader.send(`GET ${path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n`)
    await reader.waitFor(/^HTTP\/1\.1 200 /)
    reader.socket.pause()
    expectStatus(await client.request('DELETE', path), 202)
    await collectAll(server)
    t.deepEqual([...(await readStore(folder.path)).blobs.keys()], [])
    expectStatus(await client.request('GET', path), 404)
    reader.socket.resume()
    const received = Buffer.from(await reader.ended(), 'latin1')
    t.true(received.subarray(received.indexOf('\r\n\r\n') + 4).equals(large.bytes))
  },
)

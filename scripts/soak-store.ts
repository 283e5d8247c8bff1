// Kills, collects and compares for as long as it is told to: `npm run soak:store -- [minutes] [seed]`.
// Like test/failure/store-crash.test.ts and store-collection.test.ts, only longer and with other random
// numbers each time. Prints a line for each cycle, and ends with 1 as soon as anything is lost or wrong.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { makeLayers } from '../test/support/images.ts'
import { createRandom, type Random } from '../test/support/random.ts'
import { createRegistryClient } from '../test/support/registry-client.ts'
import { brokenAmong, churn, type Images, pullAlways } from '../test/support/store-churn.ts'
import { crashRepeatedly } from '../test/support/store-crash.ts'
import { buryCollections, checkLater, trashEmptied } from '../test/support/store-leftovers.ts'
import { faultsIn, startStoreProcess } from '../test/support/store-process.ts'
import { faultsOf, readStore } from '../test/support/store-tree.ts'
import { soakOptions } from './soak-options.ts'

/** In each cycle. */
const crashes = 15

const { length: minutes, seed } = soakOptions({
  name: 'soak:store',
  description: 'Kills, collects and compares: nothing that was answered may be lost or wrong.',
  unit: 'minutes',
  usual: 10,
})
const random = createRandom(seed)
const endsAt = performance.now() + minutes * 60_000

console.log(`seed ${seed}, ${minutes} minutes`)
for (let cycle = 1; performance.now() < endsAt; cycle += 1) {
  const crashed = await soakCrashes(random)
  const collected = await soakCollections(random)
  for (const fault of [...crashed.faults, ...collected.faults]) console.log(`WRONG ${fault}`)
  console.log(
    `cycle ${cycle}: ${crashed.promises} promises kept over ${crashes} crashes, ` +
      `${collected.images} images whole beside ${collected.kills} killed collections`,
  )
  if (crashed.faults.length + collected.faults.length > 0) process.exit(1)
}

/** Servers that are killed under pushes. */
async function soakCrashes(numbers: Random): Promise<{ faults: string[]; promises: number }> {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'tidegate-soak-'))
  const root = folder.path
  let promises = 0
  const faults = await crashRepeatedly({
    ...{ root, rounds: crashes, seed: numbers(2 ** 31) },
    ...{ clients: 2 + numbers(16), maxLifeMs: 200 + numbers(3000) },
    onRound: (_, { blobs, manifests }) => {
      promises = blobs.size + manifests.size
    },
  })
  faults.push(...faultsOf(await readStore(root)))
  const { left } = await checkLater(root)
  if (Object.keys(left).length > 0) faults.push(`fsck left ${JSON.stringify(left)}`)
  return { faults, promises }
}

type Collected = { readonly faults: string[]; readonly images: number; readonly kills: number }

/** Collections that are killed under pushes through two servers. */
async function soakCollections(numbers: Random): Promise<Collected> {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'tidegate-soak-'))
  const root = folder.path
  await using first = await startStoreProcess(root)
  await using second = await startStoreProcess(root)
  using one = createRegistryClient(first.origin)
  using two = createRegistryClient(second.origin)
  const images: Images = new Map()
  const shared = makeLayers(createRandom(numbers(2 ** 31)), 8, 200_000)
  let isOver = false
  const part = (index: number) => ({
    ...{ clients: [one, two], images, shared, isOver: () => isOver },
    ...{ random: createRandom(numbers(2 ** 31)), repo: `soak/r${index % 4}`, prefix: `c${index}` },
  })
  const faults: string[] = []
  const blame = (error: unknown): void => void faults.push(String(error))
  const pushing = Promise.all(
    Array.from({ length: 30 }, (_, index) => churn(part(index)).catch(blame)),
  )
  const pulling = Promise.all([0, 1].map((index) => pullAlways(part(index))))
  const kills = 10
  for (let kill = 0; kill < kills; kill += 1) {
    await collectAndKill(root, numbers(3000))
    await buryCollections(root)
  }
  isOver = true
  await pushing
  faults.push(...(await pulling).flat())
  faults.push(...(await brokenAmong(part(0), images.keys())))
  faults.push(...faultsIn(first), ...faultsIn(second))
  await using _cleaning = await startStoreProcess(root)
  await trashEmptied(root)
  faults.push(...faultsOf(await readStore(root)))
  const { left } = await checkLater(root)
  if (Object.keys(left).length > 0) faults.push(`fsck left ${JSON.stringify(left)}`)
  return { faults, images: images.size, kills }
}

/** Collects in a process that is killed that long after its first collection. */
async function collectAndKill(root: string, afterMs: number): Promise<void> {
  const args = ['test/support/collector.ts', root, '1000']
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  const closed = once(child, 'close')
  const first = await Promise.race([once(child.stdout, 'data'), closed.then(() => undefined)])
  if (first === undefined) throw new Error('the collection failed')
  child.stdout.resume()
  await delay(afterMs)
  child.kill('SIGKILL')
  await closed
}

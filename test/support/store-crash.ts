import { setTimeout as delay } from 'node:timers/promises'
import { makeLayers } from './images.ts'
import { createRandom, type Random } from './random.ts'
import { createRegistryClient, type RegistryClient, UnexpectedAnswer } from './registry-client.ts'
import { brokenPromises, createLedger, type Ledger } from './store-ledger.ts'
import { faultsIn, type StoreProcess, startStoreProcess } from './store-process.ts'
import { pushForever } from './store-pusher.ts'
import { faultsOnView } from './store-walk.ts'

export type CrashOptions = {
  readonly root: string
  readonly rounds: number
  readonly seed: number
  /** Clients that push at once. */
  readonly clients: number
  /** Longest time that a server lives under them. */
  readonly maxLifeMs: number
  readonly onRound?: (round: number, ledger: Ledger) => void
}

const repos = ['crash/one', 'crash/one/deeper', 'crash/two']

/**
 * Lets clients push to a server that is killed at a random moment, again and again on one folder, and
 * looks after each start. Resolves to everything that was lost or wrong.
 */
export async function crashRepeatedly(options: CrashOptions): Promise<string[]> {
  const random = createRandom(options.seed)
  const shared = makeLayers(random, 6, 300_000)
  const all = createLedger()
  const broken: string[] = []
  let last = createLedger()
  for (let round = 0; round <= options.rounds; round += 1) {
    const isLast = round === options.rounds
    await using server = await startStoreProcess(options.root)
    using client = createRegistryClient(server.origin)
    broken.push(...(await brokenPromises(client, last)))
    // What was promised long ago is looked at once more at the end.
    if (isLast) broken.push(...(await brokenPromises(client, all)))
    broken.push(...(await faultsOnView(client)))
    const ledger = { ...createLedger(), tags: all.tags }
    if (!isLast) broken.push(...(await crash(server, { ...options, random, shared, ledger })))
    broken.push(...faultsIn(server))
    for (const [key, content] of ledger.blobs) all.blobs.set(key, content)
    for (const [key, content] of ledger.manifests) all.manifests.set(key, content)
    options.onRound?.(round, all)
    last = ledger
  }
  return broken
}

type Crash = CrashOptions & {
  readonly random: Random
  readonly shared: ReturnType<typeof makeLayers>
  readonly ledger: Ledger
}

/** Lets clients push until the server is killed. Resolves to the answers that they did not expect. */
async function crash(
  server: StoreProcess,
  { clients, maxLifeMs, random, shared, ledger }: Crash,
): Promise<string[]> {
  const connections: RegistryClient[] = []
  const ends: Promise<unknown>[] = []
  for (let index = 0; index < clients; index += 1) {
    const client = createRegistryClient(server.origin)
    connections.push(client)
    const tags = ['a', 'b', 'c'].map((name) => `${name}${index}`)
    const own = createRandom(random(2 ** 32))
    const pusher = { client, ledger, random: own, repos, tags, shared }
    ends.push(pushForever(pusher).catch((error: unknown) => error))
  }
  await delay(random(maxLifeMs))
  await server.kill()
  const reasons = await Promise.all(ends)
  for (const connection of connections) connection[Symbol.dispose]()
  return reasons.filter((reason) => reason instanceof UnexpectedAnswer).map(String)
}

import test, { type ExecutionContext } from 'ava'
import type { Client } from './support/clients.ts'
import { PASSWORD } from './support/credentials.ts'
import { type EmbeddedStage, startEmbeddedStage } from './support/embedded-stage.ts'
import { type Fixtures, makeFixtures } from './support/fixtures.ts'
import { type Images, makeImages } from './support/images.ts'
import { type Holdings, pullManifest, takeInventory } from './support/inventory.ts'
import { type Peer, peerTest } from './support/peers.ts'
import { type Daemon, must } from './support/process.ts'
import { assertRoundTrip } from './support/round-trip.ts'
import { type StallingRelay, startStallingRelay } from './support/stalling-relay.ts'
import { type Tool, tools } from './support/tools.ts'

type Made = Fixtures & { readonly images: Images }

let making: Promise<Made> | undefined

/** Certificates, passwords and images, made once, by the first test that needs them. */
function fixtures(): Promise<Made> {
  making ??= makeFixtures().then(async (made) => ({
    ...made,
    images: await makeImages(made.folder, [1, 4]),
  }))
  return making
}

test.after.always('fixtures are removed', async () => {
  await (await making)?.[Symbol.asyncDispose]()
})

type Stage = AsyncDisposable & {
  readonly registry: EmbeddedStage
  /** A client of `repository` that has not logged in. */
  readonly client: (repository: string, port?: number) => Client
  /** A client that trusts, has logged in and has made its image. */
  readonly readyClient: (repository: string, port?: number) => Promise<Client>
  /** A network between that client and the registry, which stops after so many bytes. */
  readonly relay: (limitBytes: number) => Promise<StallingRelay>
}

/** The registry on a port that is not 443, and a tool. */
async function setStage(open: () => Promise<Tool>): Promise<Stage> {
  await using stack = new AsyncDisposableStack()
  const made = await fixtures()
  const tool = stack.use(await open())
  const registry = stack.use(await startEmbeddedStage(made, tool.address))
  const { port: target } = registry.tidegate
  const client: Stage['client'] = (repository, port = target) =>
    tool.createClient({
      images: made.images,
      repository,
      authorityCertificate: made.certificates.authority,
      registry: `${tool.names[0]}:${port}`,
    })
  const owned = stack.move()
  return {
    registry,
    client,
    readyClient: async (repository, port) => {
      const ready = client(repository, port)
      await ready.trust()
      must(await ready.login(PASSWORD), 'login')
      await ready.build()
      return ready
    },
    relay: async (limitBytes) => {
      const address = tool.address.replace(/^\[|\]$/g, '')
      return owned.use(await startStallingRelay({ address, target, limitBytes }))
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

/** Everything that is stored of a repository, each byte checked. */
async function holdings({ registry }: Stage, repository: string): Promise<Holdings> {
  const { [repository]: found } = await takeInventory(registry.api)
  if (found === undefined) throw new Error(`there is no ${repository}`)
  return found
}

/** What the access log tells of the uploads to a repository: method and status of each request. */
function uploadsTo({ registry }: Stage, repository: string): string[] {
  return registry.tidegate
    .accessLog()
    .filter((record) => record['repository'] === repository)
    .map(({ method, status }) => `${method} ${status}`)
}

async function assertIndex(t: ExecutionContext, stage: Stage): Promise<void> {
  const client = await stage.readyClient('team/index')
  must(await client.pushIndex(), 'push of an index')
  const { manifests } = await holdings(stage, 'team/index')
  const { document } = await pullManifest(stage.registry.api, 'team/index', 'multi')
  t.is(document.manifests?.length, 2)
  for (const { digest } of document.manifests ?? []) t.truthy(manifests[digest])
  await client.forget()
  t.is(await client.pullArm64(), 'arm64')
}

async function assertMounts(t: ExecutionContext, stage: Stage): Promise<void> {
  const first = await stage.readyClient('team/first')
  must(await first.push(), 'push')
  const second = await stage.readyClient('team/second')
  must(await second.push(), 'push of the same image elsewhere')
  t.deepEqual(await holdings(stage, 'team/second'), await holdings(stage, 'team/first'))

  const layers = (await fixtures()).images.layers.length
  const seen = uploadsTo(stage, 'team/second')
  const count = (what: string): number => seen.filter((line) => line === what).length
  t.is(count('POST 201'), layers, seen.join('\n'))
  // The configuration is no layer, and some tools send it again.
  t.true(count('POST 202') <= 1, seen.join('\n'))
  t.true(count('PATCH 202') <= 1, seen.join('\n'))
}

/** Begins a push over a network that stops in the middle, and there has `interrupt` end it. */
async function cutOff(
  stage: Stage,
  repository: string,
  interrupt: (push: Daemon) => Promise<void>,
): Promise<Client> {
  const relay = await stage.relay(2 << 20)
  const client = await stage.readyClient(repository, relay.port)
  {
    await using push = client.startPush()
    await relay.stalled
    await interrupt(push)
    await push.kill()
  }
  relay.release()
  return client
}

async function assertPushesAgain(
  t: ExecutionContext,
  stage: Stage,
  repository: string,
  client: Client,
): Promise<void> {
  t.is((await takeInventory(stage.registry.api))[repository], undefined)
  must(await client.push(), 'the second push')
  const before = await holdings(stage, repository)
  await stage.registry.crash()
  t.deepEqual(await holdings(stage, repository), before)
  await client.forget()
  const pull = await client.pull()
  if (pull.code !== 0) t.log(stage.registry.tidegate.log())
  must(pull, 'pull')
  t.is<unknown, unknown>((await client.pulled()).manifest, before.tags['v1'])
}

const always: readonly Peer[] = ['htpasswd', 'openssl']

for (const [peer, open] of tools) {
  peerTest(
    [...always, peer],
    `${peer} logs in, pushes and pulls the same image where Tidegate is the registry`,
    async (t) => {
      await using stage = await setStage(open)
      await assertRoundTrip(t, {
        client: stage.client('team/app'),
        tidegate: stage.registry.tidegate,
        storedDigest: async () => (await holdings(stage, 'team/app')).tags['v1'],
      })
    },
  )

  peerTest(
    [...always, peer],
    `${peer} pushes an index of two platforms and pulls one`,
    async (t) => {
      await using stage = await setStage(open)
      await assertIndex(t, stage)
    },
  )

  peerTest(
    [...always, peer],
    `${peer} mounts the layers of another repository instead of sending them again`,
    async (t) => {
      await using stage = await setStage(open)
      await assertMounts(t, stage)
    },
  )

  peerTest(
    [...always, peer],
    `${peer} or the registry is killed in a push: nothing of it shows, and the next one succeeds`,
    async (t) => {
      await using stage = await setStage(open)
      const cut = await cutOff(stage, 'team/cut', (push) => push.kill())
      await assertPushesAgain(t, stage, 'team/cut', cut)
      const crash = await cutOff(stage, 'team/crash', () => stage.registry.crash())
      await assertPushesAgain(t, stage, 'team/crash', crash)
    },
  )
}

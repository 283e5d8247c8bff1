import test from 'ava'
import type { Client } from './support/clients.ts'
import { PASSWORD } from './support/credentials.ts'
import { type Fixtures, makeFixtures } from './support/fixtures.ts'
import { type Images, makeImages } from './support/images.ts'
import { type Peer, peerTest } from './support/peers.ts'
import { must } from './support/process.ts'
import { type Registry, type RegistryOptions, startRegistry } from './support/registry.ts'
import { assertRoundTrip } from './support/round-trip.ts'
import { startTidegate, type Tidegate } from './support/tidegate.ts'
import { type Tool, tools } from './support/tools.ts'

/** Every way a registry is commonly set up that sends Locations a client outside cannot use. */
const backends: readonly (readonly [description: string, options: RegistryOptions])[] = [
  ['a registry with no http.host', {}],
  ['a registry with a wrong http.host', { httpHost: 'https://wrong.example:9999' }],
  ['a registry with relativeurls', { relativeurls: true }],
]

type Made = Fixtures & { readonly images: Images }

let making: Promise<Made> | undefined

/** Certificates, passwords and images, made once, by the first test that needs them. */
function fixtures(): Promise<Made> {
  making ??= makeFixtures().then(async (made) => ({
    ...made,
    images: await makeImages(made.folder),
  }))
  return making
}

test.after.always('fixtures are removed', async () => {
  await (await making)?.[Symbol.asyncDispose]()
})

type Stage = AsyncDisposable & {
  readonly registry: Registry
  readonly tidegate: Tidegate
  /** A client of `repository` by the first or second public name. */
  readonly client: (name: 0 | 1, repository: string) => Client
}

/** A registry, Tidegate in front of it on a port that is not 443, and a tool. */
async function setStage(open: () => Promise<Tool>, backend: RegistryOptions): Promise<Stage> {
  await using stack = new AsyncDisposableStack()
  const { certificates, htpasswd, images } = await fixtures()
  const tool = stack.use(await open())
  const registry = stack.use(await startRegistry(backend))
  const tidegate = stack.use(
    await startTidegate({ upstream: registry.url, certificates, htpasswd, address: tool.address }),
  )
  const owned = stack.move()
  return {
    registry,
    tidegate,
    client: (name, repository) =>
      tool.createClient({
        images,
        repository,
        authorityCertificate: certificates.authority,
        registry: `${tool.names[name]}:${tidegate.port}`,
      }),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

/** The digest under which the registry itself has stored `v1`. */
async function storedDigest(registry: Registry, repository: string): Promise<string | null> {
  const accept =
    'application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json'
  const url = `${registry.url}/v2/${repository}/manifests/v1`
  const response = await fetch(url, { method: 'HEAD', headers: { accept } })
  return response.headers.get('docker-content-digest')
}

const always: readonly Peer[] = ['docker-registry', 'htpasswd', 'openssl']

for (const [peer, open] of tools) {
  for (const [description, backend] of backends) {
    peerTest(
      [...always, peer],
      `${peer} logs in, pushes and pulls the same image through ${description}`,
      async (t) => {
        await using stage = await setStage(open, backend)
        const { tidegate } = stage
        await assertRoundTrip(t, {
          tidegate,
          client: stage.client(0, 'team/app'),
          storedDigest: async () => (await storedDigest(stage.registry, 'team/app')) ?? undefined,
        })
      },
    )
  }

  peerTest([...always, peer], `${peer} pushes by two public names at once`, async (t) => {
    await using stage = await setStage(open, {})
    const pair = [stage.client(0, 'team/first'), stage.client(1, 'team/second')]
    for (const client of pair) {
      await client.trust()
      must(await client.login(PASSWORD), 'login')
      await client.build()
    }
    const pushes = await Promise.all(pair.map((client) => client.push()))
    pushes.forEach((push) => void must(push, 'push'))
    const digest = await storedDigest(stage.registry, 'team/first')
    t.is(await storedDigest(stage.registry, 'team/second'), digest)
    t.truthy(digest)
  })
}

import test, { type ExecutionContext } from 'ava'
import { PRIVATE_NAMES } from './support/certificates.ts'
import {
  type Client,
  type ClientOptions,
  createBuildah,
  createDocker,
  createPodman,
  createSkopeo,
} from './support/clients.ts'
import { basic, PASSWORD, USER } from './support/credentials.ts'
import { nonLoopbackAddress, startDockerd } from './support/dockerd.ts'
import { type Fixtures, makeFixtures } from './support/fixtures.ts'
import { type Images, makeImages } from './support/images.ts'
import { type Peer, peerTest } from './support/peers.ts'
import { type Finished, must } from './support/process.ts'
import { type Registry, type RegistryOptions, startRegistry } from './support/registry.ts'
import { openSandbox } from './support/sandbox.ts'
import { startTidegate, type Tidegate } from './support/tidegate.ts'

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

type Tool = AsyncDisposable & {
  /** Where a server must listen for the tool to reach it. */
  readonly address: string
  /** Two names of that address. */
  readonly names: readonly [string, string]
  readonly createClient: (options: Omit<ClientOptions, 'sandbox'>) => Client
}

async function openTool(create: (options: ClientOptions) => Client): Promise<Tool> {
  const sandbox = await openSandbox()
  return {
    address: '127.0.0.1',
    names: ['localhost', '127.0.0.1'],
    createClient: (options) => create({ ...options, sandbox }),
    [Symbol.asyncDispose]: () => sandbox[Symbol.asyncDispose](),
  }
}

async function openDocker(): Promise<Tool> {
  const daemon = await startDockerd()
  return {
    address: nonLoopbackAddress(),
    names: PRIVATE_NAMES,
    createClient: (options) => createDocker(daemon.socket, { ...options, sandbox: daemon }),
    [Symbol.asyncDispose]: () => daemon[Symbol.asyncDispose](),
  }
}

const tools: readonly (readonly [peer: Peer, open: () => Promise<Tool>])[] = [
  ['skopeo', () => openTool(createSkopeo)],
  ['podman', () => openTool(createPodman)],
  ['buildah', () => openTool(createBuildah)],
  ['docker', openDocker],
]

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

/** Asserts that a tool was refused, and told its user so in words that name the reason. */
function assertRefused(t: ExecutionContext, { code, stdout, stderr }: Finished): void {
  const output = stdout + stderr
  t.not(code, 0, output)
  t.regex(output, /unauthorized|invalid username\/password|authentication required|no basic auth/i)
  t.notRegex(output, /<html|invalid character|unexpected end/i)
}

/** Asserts that the log tells who pushed what, and holds no secret. */
function assertLogged(t: ExecutionContext, log: string): void {
  const lines = log.split('\n')
  const push = lines.find((line) => /"method":"PUT".*"reference":"v1"/.test(line)) ?? '{}'
  t.like(JSON.parse(push), { user: USER, repository: 'team/app', reference: 'v1', status: 201 })
  for (const secret of [PASSWORD, basic(PASSWORD).slice('Basic '.length), '_state']) {
    t.false(log.includes(secret), secret)
  }
}

async function roundTrip(t: ExecutionContext, stage: Stage): Promise<void> {
  const client = stage.client(0, 'team/app')
  const untrusted = await client.login(PASSWORD)
  t.not(untrusted.code, 0)
  t.regex(untrusted.stderr, /x509: certificate signed by unknown authority/)

  await client.trust()
  assertRefused(t, await client.login('wrong'))
  const diffIds = await client.build()
  assertRefused(t, await client.push())

  must(await client.login(PASSWORD), 'login')
  must(await client.push(), 'push')
  await client.forget()
  must(await client.pull(), 'pull')
  const manifest = await storedDigest(stage.registry, 'team/app')
  t.deepEqual(await client.pulled(), { manifest, diffIds })

  must(await client.logout(), 'logout')
  await client.forget()
  assertRefused(t, await client.pull())
  t.is(await stage.tidegate.stop(), 0)
  assertLogged(t, stage.tidegate.log())
}

const always: readonly Peer[] = ['docker-registry', 'htpasswd', 'openssl']

for (const [peer, open] of tools) {
  for (const [description, backend] of backends) {
    peerTest(
      [...always, peer],
      `${peer} logs in, pushes and pulls the same image through ${description}`,
      async (t) => {
        await using stage = await setStage(open, backend)
        await roundTrip(t, stage)
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

// Prints the figures of the embedded registry in docs/performance.md: `npm run measure:store`. Tidegate and
// docker-registry 2.8 (`npm run peers`) side by side on stores of their own, plain HTTP over loopback, in turn.
// Needs curl, some 2 GiB of disk and two minutes. A measurement, not a test: nothing fails here.
import { execFile, spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { mkdir, mkdtempDisposable, open, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { type Measures, measuresOf } from '../test/support/server-process.ts'
import { startStoreProcess } from '../test/support/store-process.ts'

const mebibyte = 1024 ** 2
const blobBytes = 256 * mebibyte
const rounds = 3
const registryPort = 5099

type Server = Measures & { readonly name: string; readonly origin: string; readonly root: string }
type Figures = { readonly ms: number; readonly cpu: number }

await using folder = await mkdtempDisposable(join(tmpdir(), 'tidegate-measure-'))
await using stack = new AsyncDisposableStack()
const roots = { tidegate: join(folder.path, 'tidegate'), registry: join(folder.path, 'registry') }
const tidegate = stack.use(await startStoreProcess(roots.tidegate))
const registry = stack.use(await startDockerRegistry())
const servers: readonly Server[] = [
  { ...tidegate, name: 'Tidegate', root: roots.tidegate },
  { ...registry, name: 'docker-registry 2.8', root: roots.registry },
]

console.log(`| figure | ${servers.map(({ name }) => name).join(' | ')} |\n|---|---|---|`)
await measureBlobs()
await measureLists()

/** Unique blobs, pushed (POST, PATCH, PUT) and pulled with curl by one after the other. */
async function measureBlobs(): Promise<void> {
  const pushes = new Map<Server, Figures[]>()
  const pulls = new Map<Server, Figures[]>()
  for (let round = 0; round < rounds; round += 1) {
    for (const server of servers) {
      const file = join(folder.path, 'blob')
      const digest = await makeBlob(file, blobBytes)
      note(pushes, server, await spent(server, () => push(server, file, digest)))
      const url = `${server.origin}/v2/a/blobs/${digest}`
      note(pulls, server, await spent(server, () => curl('-o', '/dev/null', url)))
    }
  }
  for (const [what, figures] of [
    ['push', pushes],
    ['pull', pulls],
  ] as const) {
    row(`${what} of 256 MiB, MB/s`, (server) =>
      (blobBytes / 1e3 / median(figures.get(server), 'ms')).toFixed(0),
    )
    row(`${what} of 256 MiB, CPU s/GiB`, (server) =>
      ((median(figures.get(server), 'cpu') * 1024 * mebibyte) / blobBytes).toFixed(2),
    )
  }
}

/** 10,000 repositories, and a repository with 10,000 tags, each asked for twice. */
async function measureLists(): Promise<void> {
  for (const { root } of servers) await makeMany(root)
  for (const [what, path] of [
    ['first catalog page of 10,000 repositories', '/v2/_catalog?n=100'],
    ['100 of 10,000 tags', '/v2/many/tags/list?n=100'],
    ['all of 10,000 tags', '/v2/many/tags/list'],
  ]) {
    const figures = new Map<Server, Figures[]>()
    for (const server of [...servers, ...servers])
      note(figures, server, await spent(server, () => get(server.origin + path)))
    row(`${what}, ms (again)`, (server) => {
      const [first, again] = figures.get(server) ?? []
      return `${first?.ms.toFixed(0)} (${again?.ms.toFixed(0)})`
    })
  }
}

async function push({ origin }: Server, file: string, digest: string): Promise<void> {
  const start = await fetch(`${origin}/v2/a/blobs/uploads/`, { method: 'POST' })
  const headers = await curl(
    '-D',
    '-',
    '-o',
    '/dev/null',
    '-T',
    file,
    '-X',
    'PATCH',
    locationOf(start),
  )
  const location = /^location: *(\S+)/im.exec(headers)?.[1] ?? ''
  const url = `${location}${location.includes('?') ? '&' : '?'}digest=${digest}`
  const end = await fetch(url, { method: 'PUT' })
  if (end.status !== 201) throw new Error(`${end.status}: ${await end.text()}`)
}

function locationOf({ headers }: Response): string {
  return headers.get('location') ?? ''
}

async function get(url: string): Promise<void> {
  const answer = await fetch(url)
  await answer.text()
  if (answer.status !== 200) throw new Error(`${url}: ${answer.status}`)
}

async function curl(...args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)('curl', [
    '--silent',
    '--show-error',
    '--fail',
    ...args,
  ])
  return stdout
}

/** Random bytes, repeated every 64 MiB; begins with bytes of its own. Resolves to the digest. */
async function makeBlob(file: string, bytes: number): Promise<string> {
  const piece = randomBytes(64 * mebibyte)
  const hash = createHash('sha256')
  await using target = await open(file, 'w')
  for (let written = 0; written < bytes; written += piece.length) {
    await target.write(piece)
    hash.update(piece)
  }
  return `sha256:${hash.digest('hex')}`
}

/** Repositories and tags as both registries keep them, all of one manifest. */
async function makeMany(root: string): Promise<void> {
  const manifest =
    '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}'
  const hex = createHash('sha256').update(manifest).digest('hex')
  const base = join(root, 'docker/registry/v2')
  const write = async (path: string, content: string): Promise<void> => {
    await mkdir(dirname(join(base, path)), { recursive: true })
    await writeFile(join(base, path), content)
  }
  await write(`blobs/sha256/${hex.slice(0, 2)}/${hex}/data`, manifest)
  for (let index = 0; index < 10_000; index += 1) {
    const repository = `repositories/team/app-${index}/_manifests`
    await write(`${repository}/revisions/sha256/${hex}/link`, `sha256:${hex}`)
    await write(`${repository}/tags/latest/current/link`, `sha256:${hex}`)
    await write(`repositories/many/_manifests/tags/v${index}/current/link`, `sha256:${hex}`)
  }
  await write(`repositories/many/_manifests/revisions/sha256/${hex}/link`, `sha256:${hex}`)
}

async function startDockerRegistry(): Promise<Measures & AsyncDisposable & { origin: string }> {
  const config = join(folder.path, 'registry.yml')
  const storage = { filesystem: { rootdirectory: roots.registry }, delete: { enabled: true } }
  const http = { addr: `127.0.0.1:${registryPort}` }
  await writeFile(config, JSON.stringify({ version: '0.1', storage, http }))
  const child = spawn('docker-registry', ['serve', config], { stdio: 'ignore' })
  const origin = `http://127.0.0.1:${registryPort}`
  while (
    !(await fetch(origin).then(
      () => true,
      () => false,
    ))
  )
    await sleep(50)
  return {
    ...measuresOf(Number(child.pid)),
    origin,
    async [Symbol.asyncDispose]() {
      child.kill()
      await rm(roots.registry, { recursive: true, force: true })
    },
  }
}

async function spent(server: Server, work: () => Promise<unknown>): Promise<Figures> {
  const cpu = await server.cpuSeconds()
  const start = performance.now()
  await work()
  return { ms: performance.now() - start, cpu: (await server.cpuSeconds()) - cpu }
}

function note(into: Map<Server, Figures[]>, server: Server, figures: Figures): void {
  into.set(server, [...(into.get(server) ?? []), figures])
}

function median(figures: readonly Figures[] = [], key: keyof Figures): number {
  const sorted = figures.map((figure) => figure[key]).sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}

function row(figure: string, measured: (server: Server) => string): void {
  console.log(`| ${figure} | ${servers.map(measured).join(' | ')} |`)
}

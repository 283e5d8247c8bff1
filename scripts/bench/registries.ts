import { createHash, randomBytes } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { startDockerRegistry } from './fronts/docker-registry.ts'
import { startTidegate } from './fronts/tidegate.ts'
import { curl, urlOf } from './load.ts'
import { credentials, type Server, type Workspace } from './workspace.ts'

/** A registry with TLS, users and a store of its own. */
export type Registry = { readonly name: string; start(): Promise<Server> }

/** Tidegate and docker-registry, not started, each over what `fill` puts into its new folder. */
export function makeRegistries(
  workspace: Workspace,
  fill: (store: string) => void = () => {},
): Registry[] {
  const make = (): string => {
    const store = workspace.makeFolder('store')
    fill(store)
    return store
  }
  const [ours, theirs] = [make(), make()]
  return [
    {
      name: 'tidegate',
      start: () => startTidegate(workspace, { store: ours, hasUsers: true }),
    },
    { name: 'docker-registry', start: () => startDockerRegistry(workspace, { store: theirs }) },
  ]
}

/** Starts all of them. */
export function startAll(registries: readonly Registry[]): Promise<Server[]> {
  return Promise.all(registries.map((registry) => registry.start()))
}

/** curl's arguments for the user of the run. */
export const asUser = ['--user', credentials]

export type Blob = { readonly file: string; readonly digest: string }

/** A blob that no registry has: random bytes, repeated every 64 MiB. */
export async function makeBlob({ folder }: Workspace, bytes: number): Promise<Blob> {
  const file = join(folder, 'blob')
  const piece = randomBytes(Math.min(bytes, 64 * 1024 ** 2))
  const hash = createHash('sha256')
  await using target = await open(file, 'w')
  for (let written = 0; written < bytes; written += piece.length) {
    await target.write(piece)
    hash.update(piece)
  }
  // What is still on its way to the disk would be paid for by whoever is measured next.
  await target.sync()
  return { file, digest: `sha256:${hash.digest('hex')}` }
}

/** Pushes a blob as docker does: POST, one PATCH, PUT. */
export async function push(workspace: Workspace, server: Server, blob: Blob): Promise<void> {
  const send = async (method: string, url: string, ...args: string[]): Promise<string> => {
    const headers = ['-H', 'Expect:', '-H', 'Content-Type: application/octet-stream']
    const output = ['--dump-header', '-', '-o', '/dev/null', '-X', method]
    const answer = await curl(workspace, [...asUser, ...headers, ...output, ...args, url])
    return new URL(/^location: *(\S+)/im.exec(answer)?.[1] ?? '', urlOf(server, '/')).href
  }
  const session = await send('POST', urlOf(server, '/v2/bench/blobs/uploads/'), '-d', '')
  const location = await send('PATCH', session, '-T', blob.file)
  const mark = location.includes('?') ? '&' : '?'
  await send('PUT', `${location}${mark}digest=${blob.digest}`, '-d', '')
}

export const manifestType = 'application/vnd.oci.image.index.v1+json'

const manifest = `{"schemaVersion":2,"mediaType":"${manifestType}","manifests":[]}`

/** Puts repositories `team/app-N` with tags `vN` into a store, as both registries keep them. */
export function fillStore(
  store: string,
  { repositories, tags }: { readonly repositories: number; readonly tags: number },
): void {
  const hex = createHash('sha256').update(manifest).digest('hex')
  const write = (path: string, content: string): void => {
    const file = join(store, 'docker/registry/v2', path)
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, content)
  }
  write(`blobs/sha256/${hex.slice(0, 2)}/${hex}/data`, manifest)
  for (let index = 0; index < repositories; index += 1) {
    const repository = `repositories/team/app-${index}/_manifests`
    write(`${repository}/revisions/sha256/${hex}/link`, `sha256:${hex}`)
    for (let tag = 0; tag < tags; tag += 1) {
      write(`${repository}/tags/v${tag}/current/link`, `sha256:${hex}`)
      write(`${repository}/tags/v${tag}/index/sha256/${hex}/link`, `sha256:${hex}`)
    }
  }
}

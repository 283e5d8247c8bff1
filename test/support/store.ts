import { hash } from 'node:crypto'
import { mkdir, mkdtempDisposable, readdir, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { type Digest, parseDigest } from '../../src/lib/digest.ts'
import { parseRepoName, parseTag, type RepoName } from '../../src/lib/names.ts'
import type { StorageDriver, StoragePath } from '../../src/storage/driver.ts'
import { createFilesystemDriver } from '../../src/storage/filesystem.ts'
import {
  blobData,
  layerLink,
  repositoriesRoot,
  revisionLink,
  tagIndexLink,
  tagLink,
} from '../../src/storage/layout.ts'

export type Algorithm = 'sha256' | 'sha512'

/** A store in a folder of its own, built by writing the layout's files, as any registry might have. */
export type TestStore = AsyncDisposable & {
  readonly root: string
  readonly driver: StorageDriver
  /** Writes any file of the tree. */
  file(path: StoragePath, content: string | Buffer): Promise<void>
  /** A blob that no repository has. */
  blob(content: string | Buffer, algorithm?: Algorithm): Promise<Digest>
  /** A blob that a repository has. */
  layer(repository: string, content: string, algorithm?: Algorithm): Promise<Digest>
  /** An image of these blobs; returns its digest. */
  image(repository: string, layers: readonly Digest[], options?: ImageOptions): Promise<Digest>
  index(repository: string, manifests: readonly Digest[], options?: ImageOptions): Promise<Digest>
  /** Any document as a manifest. */
  manifest(repository: string, document: unknown, options?: ImageOptions): Promise<Digest>
  tag(repository: string, tag: string, digest: Digest): Promise<void>
  /** Makes everything there is as old as that. */
  age(ms: number): Promise<void>
  /** Paths of all files below `docker/registry/v2`, sorted. */
  files(): Promise<string[]>
  /** Paths of all folders without anything in them. */
  emptyFolders(): Promise<string[]>
}

export type ImageOptions = {
  readonly tag?: string
  readonly subject?: Digest
  readonly algorithm?: Algorithm
}

export const imageType = 'application/vnd.oci.image.manifest.v1+json'
const indexType = 'application/vnd.oci.image.index.v1+json'
const base = '/docker/registry/v2'

export function digestOf(content: string | Buffer, algorithm: Algorithm = 'sha256'): Digest {
  return parseDigest(`${algorithm}:${hash(algorithm, content)}`)
}

export const repo = (name: string): RepoName => parseRepoName(name)

/** A manifest's JSON with these layers, of which the first is also its config. */
export function imageOf(layers: readonly Digest[], subject?: Digest): Record<string, unknown> {
  const descriptor = (digest: Digest) => ({
    mediaType: 'application/octet-stream',
    digest,
    size: 1,
  })
  return {
    schemaVersion: 2,
    mediaType: imageType,
    ...(layers[0] && { config: descriptor(layers[0]) }),
    layers: layers.slice(1).map(descriptor),
    ...(subject && { subject: { mediaType: imageType, digest: subject, size: 1 } }),
  }
}

export async function createTestStore(): Promise<TestStore> {
  const directory = await mkdtempDisposable(join(tmpdir(), 'tidegate-store-'))
  const root = directory.path
  const file: TestStore['file'] = async (path, content) => {
    await mkdir(dirname(root + path), { recursive: true })
    await writeFile(root + path, content)
  }
  const blob: TestStore['blob'] = async (content, algorithm) => {
    const digest = digestOf(content, algorithm)
    // As any push does first.
    await mkdir(root + repositoriesRoot, { recursive: true })
    await file(blobData(digest), content)
    return digest
  }
  const tag: TestStore['tag'] = async (repository, name, digest) => {
    await file(tagIndexLink(repo(repository), parseTag(name), digest), digest)
    await file(tagLink(repo(repository), parseTag(name)), digest)
  }
  const manifest: TestStore['manifest'] = async (repository, document, options = {}) => {
    const digest = await blob(JSON.stringify(document), options.algorithm)
    await file(revisionLink(repo(repository), digest), digest)
    if (options.tag !== undefined) await tag(repository, options.tag, digest)
    return digest
  }
  return {
    root,
    driver: createFilesystemDriver({ root }),
    file,
    blob,
    async layer(repository, content, algorithm) {
      const digest = await blob(content, algorithm)
      await file(layerLink(repo(repository), digest), digest)
      return digest
    },
    image: (repository, layers, options = {}) =>
      manifest(repository, imageOf(layers, options.subject), options),
    index: (repository, manifests, options = {}) =>
      manifest(
        repository,
        {
          ...{ schemaVersion: 2, mediaType: indexType },
          manifests: manifests.map((digest) => ({ mediaType: imageType, digest, size: 1 })),
          ...(options.subject && {
            subject: { mediaType: imageType, digest: options.subject, size: 1 },
          }),
        },
        options,
      ),
    manifest,
    tag,
    async age(ms) {
      const at = (Date.now() - ms) / 1000
      for (const { path } of await walk(root + base)) await utimes(path, at, at)
    },
    async files() {
      const entries = await walk(root + base)
      return entries
        .filter(({ isFile }) => isFile)
        .map(({ path }) => path.slice(root.length + base.length))
        .sort()
    },
    async emptyFolders() {
      const entries = await walk(root + base)
      const full = new Set(entries.map(({ path }) => dirname(path)))
      return entries
        .filter(({ path, isFile }) => !isFile && !full.has(path))
        .map(({ path }) => path.slice(root.length + base.length))
        .sort()
    },
    [Symbol.asyncDispose]: () => directory.remove(),
  }
}

/** Everything below a folder, what is inside before what it is in. */
async function walk(folder: string): Promise<{ path: string; isFile: boolean }[]> {
  const entries = await readdir(folder, { withFileTypes: true, recursive: true }).catch(() => [])
  return entries
    .map((entry) => ({ path: join(entry.parentPath, entry.name), isFile: entry.isFile() }))
    .sort((a, b) => b.path.length - a.path.length)
}

type Call = { readonly method: keyof StorageDriver; readonly args: readonly unknown[] }

/** A driver that calls `before` ahead of every operation and `after` behind it. */
export function watchDriver(
  driver: StorageDriver,
  hooks: {
    readonly before?: (call: Call) => Promise<void> | void
    readonly after?: (call: Call) => Promise<void> | void
  },
): StorageDriver {
  return new Proxy(driver, {
    get(target, method: keyof StorageDriver) {
      return async (...args: unknown[]) => {
        await hooks.before?.({ method, args })
        const result = await Reflect.apply(target[method], target, args)
        await hooks.after?.({ method, args })
        return result
      }
    },
  })
}

/** Tags that cannot be pulled whole, and why: a reader of its own, apart from the code under test. */
export async function brokenTags(store: TestStore): Promise<string[]> {
  const files = new Set(await store.files())
  const broken: string[] = []
  for (const path of files) {
    const match = /^\/repositories\/(.+)\/_manifests\/tags\/([^/]+)\/current\/link$/.exec(path)
    if (match === null) continue
    const [, name = '', tag = ''] = match
    const link = await store.driver.read(base + path)
    const problem = await pull(store, files, name, String(link?.content))
    if (problem !== undefined) broken.push(`${name}:${tag}: ${problem}`)
  }
  return broken
}

async function pull(
  store: TestStore,
  files: ReadonlySet<string>,
  name: string,
  digest: string,
): Promise<string | undefined> {
  const place = (of: string): string => of.replace(':', '/')
  if (!files.has(`/repositories/${name}/_manifests/revisions/${place(digest)}/link`)) return digest
  const data = (of: string): string => blobData(parseDigest(of)).slice(base.length)
  if (!files.has(data(digest))) return `bytes of ${digest}`
  const file = await store.driver.read(base + data(digest))
  const document = JSON.parse(String(file?.content))
  for (const { digest: layer } of [document.config, ...(document.layers ?? [])].filter(Boolean)) {
    if (!files.has(`/repositories/${name}/_layers/${place(layer)}/link`)) return `link ${layer}`
    if (!files.has(data(layer))) return `bytes of ${layer}`
  }
  for (const child of document.manifests ?? []) {
    const problem = await pull(store, files, name, child.digest)
    if (problem !== undefined) return problem
  }
  return undefined
}

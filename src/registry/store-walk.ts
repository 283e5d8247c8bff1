import { type Digest, isDigest } from '../lib/digest.ts'
import { mapOrdered } from '../lib/map-ordered.ts'
import type { RepoName } from '../lib/names.ts'
import type { StorageDriver, StoragePath } from '../storage/driver.ts'
import { blobsRoot, repositoriesRoot, repository } from '../storage/layout.ts'
import { isStorable } from './digester.ts'
import { storedRepository } from './stored-names.ts'

/** All that finding things takes. */
export type Lister = Pick<StorageDriver, 'list'>

/** How much of a store is looked at at the same time, so that serving goes on beside it. */
export const walkWidth = 8

/** What is below all repositories. */
export type RepositoryTree = {
  /** Folders that hold a repository, empty or not. */
  readonly repositories: readonly RepoName[]
  /** All folders whose names can be of a repository; those above others come first. */
  readonly folders: readonly RepoName[]
  /** Folders that no client can name. */
  readonly strangers: readonly StoragePath[]
}

/** Finds all repositories; memory grows with their names only. */
export async function listRepositories(driver: Lister): Promise<RepositoryTree> {
  const tree: { [K in keyof RepositoryTree]: RepositoryTree[K][number][] } = {
    repositories: [],
    folders: [],
    strangers: [],
  }
  const look = (path: RepoName | '') => lookInto(driver, path)
  for (let level: readonly (RepoName | '')[] = ['']; level.length > 0; ) {
    const below: RepoName[] = []
    for await (const { self, children, strangers } of mapOrdered(level, walkWidth, look)) {
      if (self !== undefined) tree.repositories.push(self)
      for (const path of strangers) tree.strangers.push(path)
      for (const name of children) {
        tree.folders.push(name)
        below.push(name)
      }
    }
    level = below
  }
  return tree
}

type NamedFolder = {
  /** Its name if it holds a repository. */
  readonly self: RepoName | undefined
  readonly children: readonly RepoName[]
  readonly strangers: readonly StoragePath[]
}

async function lookInto(driver: Lister, path: RepoName | ''): Promise<NamedFolder> {
  const folder = path === '' ? repositoriesRoot : repository(path)
  const entries = (await driver.list(folder)) ?? []
  const children: RepoName[] = []
  const strangers: StoragePath[] = []
  for (const { name, kind } of entries) {
    if (kind === 'file' || isPart(name)) continue
    const child = storedRepository(path === '' ? name : `${path}/${name}`)
    if (child === undefined) strangers.push(`${folder}/${name}`)
    else children.push(child)
  }
  const isRepository = path !== '' && entries.some(({ name }) => isPart(name))
  return { self: isRepository ? path : undefined, children, strangers }
}

/** True for what a repository is made of; nothing of this name can be below a repository as another. */
function isPart(name: string): boolean {
  return name === '_layers' || name === '_manifests' || name === '_uploads'
}

/** The digests that have a folder below `folder`, as links are kept: `<algorithm>/<hex>`. */
export async function digestsIn(driver: Lister, folder: StoragePath): Promise<Digest[]> {
  const digests: Digest[] = []
  for (const algorithm of await foldersIn(driver, folder)) {
    for (const hex of await foldersIn(driver, `${folder}/${algorithm}`)) {
      const digest = `${algorithm}:${hex}`
      if (isDigest(digest) && isStorable(digest)) digests.push(digest)
    }
  }
  return digests
}

/** The digests of all blobs that have a folder, in groups of those that share a parent folder. */
export async function* walkBlobs(
  driver: Lister,
): AsyncGenerator<{ readonly parent: StoragePath; readonly digests: readonly Digest[] }> {
  for (const algorithm of await foldersIn(driver, blobsRoot)) {
    for (const prefix of await foldersIn(driver, `${blobsRoot}/${algorithm}`)) {
      const parent = `${blobsRoot}/${algorithm}/${prefix}`
      const digests: Digest[] = []
      for (const hex of await foldersIn(driver, parent)) {
        const digest = `${algorithm}:${hex}`
        if (hex.startsWith(prefix) && isDigest(digest) && isStorable(digest)) digests.push(digest)
      }
      yield { parent, digests }
    }
  }
}

/** Names of the folders in a folder. */
export async function foldersIn(driver: Lister, path: StoragePath): Promise<string[]> {
  const entries = (await driver.list(path)) ?? []
  return entries.filter(({ kind }) => kind === 'folder').map(({ name }) => name)
}

/** True for the name of a file that a registry is writing, or was when it was killed. */
export function isTemporary(name: string): boolean {
  return /\.[0-9a-f-]{36}\.tmp$/.test(name)
}

export type Movement = {
  /** When anything in it was last changed, added or removed. */
  readonly modifiedAt: number
  readonly bytes: number
}

/** When something in a folder was last changed, whatever it is; undefined if it is not there. */
export async function lastMovement(
  driver: StorageDriver,
  path: StoragePath,
): Promise<Movement | undefined> {
  const stat = await driver.stat(path)
  if (stat === undefined) return undefined
  let { modifiedAt, size: bytes } = stat
  const entries = stat.kind === 'folder' ? ((await driver.list(path)) ?? []) : []
  for (const { name } of entries) {
    const inner = await lastMovement(driver, `${path}/${name}`)
    modifiedAt = Math.max(modifiedAt, inner?.modifiedAt ?? 0)
    bytes += inner?.bytes ?? 0
  }
  return { modifiedAt, bytes }
}

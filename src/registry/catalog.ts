import { dirname } from 'node:path/posix'
import { mapOrdered } from '../lib/map-ordered.ts'
import type { RepoName } from '../lib/names.ts'
import { createSizedCache } from '../lib/sized-cache.ts'
import type { StorageDriver, StoragePath, StoredEntry } from '../storage/driver.ts'
import { repositoriesRoot, repository } from '../storage/layout.ts'
import type { Listed, Page } from './pages.ts'
import { createManifestFinder } from './revisions.ts'
import { storedRepository } from './stored-names.ts'

export type Catalog = {
  /** Repositories that hold a manifest, in ASCII order. */
  list(page: Page): Promise<Listed<RepoName>>
}

/** Folders looked at ahead of the one whose turn it is. */
const width = 16

/**
 * What sorts as the listing does: a repository by its name, all those below it by the name and a slash, so
 * that `a` comes before `a-b`, and that before `a/b`. May stand for a name that no repository can have.
 */
type Key = string
type Opened = { readonly name: RepoName; readonly inside: readonly Key[] | boolean }

/** Keys kept in memory, at most about 100 MiB: three for each of 160,000 repositories. */
const maxKeys = 500_000

/** The repositories of a folder, found on demand: a page costs about as many looks as it has entries. */
export function createCatalog({ driver }: { readonly driver: StorageDriver }): Catalog {
  const hasManifest = createManifestFinder(driver)
  const keysIn = createKeyReader(driver)

  const open = async (key: Key): Promise<Opened | undefined> => {
    const isBelow = key.endsWith('/')
    const name = storedRepository(isBelow ? key.slice(0, -1) : key)
    if (name === undefined) return undefined
    const inside = isBelow ? await keysIn(name) : await hasManifest(name)
    if (inside === false || inside === undefined) await requireNoBrokenLink(name)
    return { name, inside: inside ?? false }
  }

  /** A link to a disk that has gone leaves the folder it is in as it was, but not to be listed. */
  const requireNoBrokenLink = async (name: RepoName): Promise<void> => {
    const folder = repository(name)
    if ((await driver.stat(folder)) === undefined) await driver.list(dirname(folder))
  }

  async function* walk(
    keys: readonly Key[],
    after: string,
  ): AsyncGenerator<RepoName, void, undefined> {
    for await (const opened of mapOrdered(keysAfter(keys, after), width, open)) {
      if (opened === undefined || opened.inside === false) continue
      if (opened.inside === true) yield opened.name
      else yield* walk(opened.inside, after)
    }
  }

  return {
    async list({ limit = Number.POSITIVE_INFINITY, after = '' }) {
      const entries: RepoName[] = []
      if (limit === 0) return { entries, more: false }
      for await (const name of walk((await keysIn(undefined)) ?? [], after)) {
        if (entries.length === limit) return { entries, more: true }
        entries.push(name)
      }
      return { entries, more: false }
    },
  }
}

/**
 * Makes a function that returns what is directly below a repository, or below none, in the order of the
 * listing; undefined if there is no such folder. Whatever comes or goes there changes the version of the
 * folder, so that it need not be listed as long as this is the same.
 */
function createKeyReader(
  driver: StorageDriver,
): (parent: RepoName | undefined) => Promise<readonly Key[] | undefined> {
  const known = createSizedCache<
    StoragePath,
    { readonly version: string; readonly keys: readonly Key[] }
  >({ maxCost: maxKeys, costOf: ({ keys }) => 1 + keys.length })

  return async (parent) => {
    const folder = parent === undefined ? repositoriesRoot : repository(parent)
    // Before the listing: what changes in between makes the version old, never the listing.
    const version = (await driver.stat(folder))?.version
    const last = known.get(folder)
    if (last !== undefined && last.version === version) return last.keys
    const entries = await driver.list(folder)
    if (entries === undefined) return undefined
    const keys = keysAmong(entries, parent)
    if (version !== undefined) known.set(folder, { version, keys })
    return keys
  }
}

/**
 * Of 10,000 folders a page needs a hundred: so names are checked, and told apart, when their turn comes; but
 * for the folders that every repository has, `_manifests` and its like.
 */
function keysAmong(entries: readonly StoredEntry[], parent: RepoName | undefined): Key[] {
  const prefix = parent === undefined ? '' : `${parent}/`
  const keys: Key[] = []
  for (const { kind, name } of entries) {
    if (kind === 'folder' && !name.startsWith('_')) keys.push(prefix + name, `${prefix}${name}/`)
  }
  return keys.sort()
}

/** The keys that may lead to names after `after`, of keys of one folder in their order. */
function* keysAfter(keys: readonly Key[], after: string): Generator<Key, void, undefined> {
  // The repository that `after` is below sorts before it, and leads to more.
  for (let slash = after.indexOf('/'); slash !== -1; slash = after.indexOf('/', slash + 1)) {
    const above = after.slice(0, slash + 1)
    if (keys[indexAfter(keys, above) - 1] === above) yield above
  }
  for (let index = indexAfter(keys, after); index < keys.length; index += 1) {
    yield keys[index] as Key // below its length
  }
}

/** Index of the first of the sorted `keys` that is greater than `key`. */
function indexAfter(keys: readonly Key[], key: string): number {
  let [low, high] = [0, keys.length]
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((keys[middle] as Key) > key) high = middle
    else low = middle + 1
  }
  return low
}

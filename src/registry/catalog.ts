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

/** A repository, or all repositories below it: `a` comes before `a-b`, and that before `a/b`. */
type Place = { readonly name: RepoName; readonly isBelow: boolean; readonly key: string }
type Opened = { readonly name: RepoName; readonly inside: readonly Place[] | boolean }

/** Places kept in memory: about 20 MiB. */
const maxPlaces = 100_000

/** The repositories of a folder, found on demand: a page costs about as many looks as it has entries. */
export function createCatalog({ driver }: { readonly driver: StorageDriver }): Catalog {
  const hasManifest = createManifestFinder(driver)
  const placesIn = createPlaceReader(driver)

  async function* walk(
    places: readonly Place[],
    after: string,
  ): AsyncGenerator<RepoName, void, undefined> {
    const open = async ({ name, isBelow }: Place): Promise<Opened> => ({
      name,
      inside: isBelow ? await placesIn(name) : await hasManifest(name),
    })
    const wanted = places.filter((place) => mayComeAfter(place, after))
    for await (const { name, inside } of mapOrdered(wanted, width, open)) {
      if (inside === true) yield name
      else if (inside !== false) yield* walk(inside, after)
    }
  }

  return {
    async list({ limit = Number.POSITIVE_INFINITY, after = '' }) {
      const entries: RepoName[] = []
      if (limit === 0) return { entries, more: false }
      for await (const name of walk(await placesIn(undefined), after)) {
        if (entries.length === limit) return { entries, more: true }
        entries.push(name)
      }
      return { entries, more: false }
    },
  }
}

/**
 * Makes a function that returns what is directly below a repository, or below none. Whatever comes or goes
 * there changes the version of the folder, so that it need not be listed as long as this is the same.
 */
function createPlaceReader(
  driver: StorageDriver,
): (parent: RepoName | undefined) => Promise<readonly Place[]> {
  const known = createSizedCache<
    StoragePath,
    { readonly version: string; readonly places: readonly Place[] }
  >({ maxCost: maxPlaces, costOf: ({ places }) => 1 + places.length })

  return async (parent) => {
    const folder = parent === undefined ? repositoriesRoot : repository(parent)
    // Before the listing: what changes in between makes the version old, never the listing.
    const version = (await driver.stat(folder))?.version
    const last = known.get(folder)
    if (last !== undefined && last.version === version) return last.places
    const places = placesAmong((await driver.list(folder)) ?? [], parent)
    if (version !== undefined) known.set(folder, { version, places })
    return places
  }
}

/** The folders among `entries`, in the order of the names they stand for. */
function placesAmong(entries: readonly StoredEntry[], parent: RepoName | undefined): Place[] {
  return entries
    .flatMap(({ kind, name: component }): Place[] => {
      // `_manifests` and its like are no component of a name, so the grammar keeps us out of them.
      const path = parent === undefined ? component : `${parent}/${component}`
      const name = kind === 'folder' ? storedRepository(path) : undefined
      if (name === undefined) return []
      return [
        { name, isBelow: false, key: name },
        { name, isBelow: true, key: `${name}/` },
      ]
    })
    .sort((a, b) => (a.key < b.key ? -1 : 1))
}

function mayComeAfter({ key, isBelow }: Place, after: string): boolean {
  return key > after || (isBelow && after.startsWith(key))
}

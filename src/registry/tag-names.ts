import { mapOrdered } from '../lib/map-ordered.ts'
import type { RepoName, Tag } from '../lib/names.ts'
import { createSizedCache } from '../lib/sized-cache.ts'
import type { StorageDriver } from '../storage/driver.ts'
import { tagLink, tags } from '../storage/layout.ts'
import type { Listed, Page } from './pages.ts'
import { storedTag } from './stored-names.ts'

/** Names kept in memory, of all repositories together. */
const maxNames = 200_000
const width = 16

type KnownNames = {
  /** Of the folder `tags` when it was listed; undefined if that was too new to be told from the next. */
  readonly version: string | undefined
  /** Names of all folders in it, sorted. */
  readonly folders: readonly Tag[]
  /** Those that were found to be tags since. */
  readonly good: Set<Tag>
}

/** Names of the folders in which a repository keeps its tags, in no order, whole or not. */
export async function tagFolders(driver: StorageDriver, name: RepoName): Promise<Tag[]> {
  return ((await driver.list(tags(name))) ?? []).flatMap(({ kind, name: folder }) =>
    kind === 'folder' ? (storedTag(folder) ?? []) : [],
  )
}

/**
 * Makes a function that returns a part of the tags of a repository in ASCII order: those that have a link.
 *
 * A tag comes into being by a new folder in `tags`, and goes by that folder's being renamed away, or
 * removed as registry:2 does. So as long as the version of `tags` is the same it need not be listed, and
 * a folder that was found good is not looked into again. Only what happens further down leaves no trace
 * there: a new tag's link is written after its folder was made, so folders that were no tag yet are
 * looked into each time. No more folders are looked into than the part has tags.
 */
export function createTagNames(
  driver: StorageDriver,
): (name: RepoName, page: Page) => Promise<Listed<Tag>> {
  const known = createSizedCache<RepoName, KnownNames>({
    maxCost: maxNames,
    costOf: ({ folders }) => 1 + folders.length,
  })

  const recall = async (name: RepoName): Promise<KnownNames> => {
    // Before the listing: what changes in between makes the version old, never the listing.
    const version = (await driver.stat(tags(name)))?.version
    const last = known.get(name)
    if (version !== undefined && last?.version === version) return last
    const folders = (await tagFolders(driver, name)).sort()
    const names: KnownNames = { version, folders, good: new Set() }
    if (version !== undefined) known.set(name, names)
    return names
  }

  return async (name, { limit = Number.POSITIVE_INFINITY, after }) => {
    const { folders, good } = await recall(name)
    const wanted = after === undefined ? folders : folders.slice(firstAfter(folders, after))
    if (good.size === folders.length) return pageOf(wanted, limit)
    // An empty link is what registry:2 leaves when it is stopped in the middle.
    const look = async (tag: Tag): Promise<Tag | undefined> => {
      if (!good.has(tag) && ((await driver.stat(tagLink(name, tag)))?.size ?? 0) === 0)
        return undefined
      good.add(tag)
      return tag
    }
    const entries: Tag[] = []
    for await (const tag of mapOrdered(wanted, width, look)) {
      if (tag !== undefined) entries.push(tag)
      if (entries.length > limit) break
    }
    return pageOf(entries, limit)
  }
}

/** OCI distribution-spec "Listing Tags": for `n` of zero there must be no Link. */
function pageOf(sorted: readonly Tag[], limit: number): Listed<Tag> {
  return { entries: sorted.slice(0, limit), more: limit !== 0 && sorted.length > limit }
}

function firstAfter(sorted: readonly string[], after: string): number {
  let low = 0
  let high = sorted.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((sorted[middle] ?? '') <= after) low = middle + 1
    else high = middle
  }
  return low
}

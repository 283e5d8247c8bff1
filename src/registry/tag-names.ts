import { mapOrdered } from '../lib/map-ordered.ts'
import type { RepoName, Tag } from '../lib/names.ts'
import { createSizedCache } from '../lib/sized-cache.ts'
import type { StorageDriver } from '../storage/driver.ts'
import { tagLink, tags } from '../storage/layout.ts'
import { storedTag } from './stored-names.ts'

/** Names kept in memory, of all repositories together. */
const maxNames = 200_000
const width = 16

type KnownNames = {
  /** Of the folder `tags` when it was listed; undefined if that was too new to be told from the next. */
  readonly version: string | undefined
  /** Tags that mean something, sorted. */
  readonly good: readonly Tag[]
  /** Folders that are no tag, or not yet. */
  readonly doubtful: readonly Tag[]
}

/** Names of the folders in which a repository keeps its tags, in no order, whole or not. */
export async function tagFolders(driver: StorageDriver, name: RepoName): Promise<Tag[]> {
  return ((await driver.list(tags(name))) ?? []).flatMap(({ kind, name: folder }) =>
    kind === 'folder' ? (storedTag(folder) ?? []) : [],
  )
}

/**
 * Makes a function that returns the tags of a repository in ASCII order, those that have a link.
 *
 * A tag comes into being by a new folder in `tags`, and goes by that folder's being renamed away, or
 * removed as registry:2 does. So a folder that was found good and is still listed is not looked into
 * again, and as long as the version of `tags` is the same it need not be listed either. Only what
 * happens further down leaves no trace there: a new tag's link is written after its folder was made, so
 * folders that were no tag yet are looked into each time.
 */
export function createTagNames(driver: StorageDriver): (name: RepoName) => Promise<readonly Tag[]> {
  const known = createSizedCache<RepoName, KnownNames>({
    maxCost: maxNames,
    costOf: ({ good, doubtful }) => 1 + good.length + doubtful.length,
  })

  const goodOf = async (name: RepoName, folders: readonly Tag[]): Promise<Set<Tag>> => {
    const good = new Set<Tag>()
    // An empty link is what registry:2 leaves when it is stopped in the middle.
    const look = async (tag: Tag): Promise<void> => {
      if (((await driver.stat(tagLink(name, tag)))?.size ?? 0) > 0) good.add(tag)
    }
    await Array.fromAsync(mapOrdered(folders, width, look))
    return good
  }

  return async (name) => {
    // Before the listing: what changes in between makes the version old, never the listing.
    const version = (await driver.stat(tags(name)))?.version
    const last = known.get(name)
    const isSame = version !== undefined && last?.version === version
    if (isSame && last.doubtful.length === 0) return last.good
    const before = new Set(last?.good)
    const folders = isSame ? [...last.good, ...last.doubtful] : await tagFolders(driver, name)
    const found = await goodOf(
      name,
      folders.filter((tag) => !before.has(tag)),
    )
    const good = folders.filter((tag) => before.has(tag) || found.has(tag)).sort()
    const doubtful = folders.filter((tag) => !before.has(tag) && !found.has(tag))
    known.set(name, { version, good, doubtful })
    return good
  }
}

import type { Digest } from '../lib/digest.ts'
import { mapOrdered } from '../lib/map-ordered.ts'
import type { RepoName, Tag } from '../lib/names.ts'
import { createSizedCache } from '../lib/sized-cache.ts'
import type { StorageDriver } from '../storage/driver.ts'
import { tags } from '../storage/layout.ts'
import { storedTag } from './stored-names.ts'

/** Names kept in memory, of all repositories together. */
const maxNames = 200_000
const width = 16

type Looks = {
  /** Tags that mean something. */
  readonly good: Tag[]
  /** Folders that are no tag, or not yet. */
  readonly doubtful: Tag[]
}
/** `good` is sorted. */
type KnownNames = Looks & { readonly version: string }

/** Names of the folders in which a repository keeps its tags, in no order, whole or not. */
export async function tagFolders(driver: StorageDriver, name: RepoName): Promise<Tag[]> {
  return ((await driver.list(tags(name))) ?? []).flatMap(({ kind, name: folder }) =>
    kind === 'folder' ? (storedTag(folder) ?? []) : [],
  )
}

/**
 * Makes a function that returns the tags of a repository in ASCII order, those whose link is whole.
 *
 * The version of the folder `tags` is a safe check for what was found in it. A tag comes into being by
 * a new folder in it, and goes by that folder's being renamed away, or removed as registry:2 does:
 * each changes the folder's own modification time. Only what happens further down leaves no trace
 * there: a new tag's link, which is written after its folder was made, so folders that were no tag
 * yet are looked at again each time. A link that is there is only ever overwritten with another.
 */
export function createTagNames(
  driver: StorageDriver,
  resolve: (name: RepoName, tag: Tag) => Promise<Digest | undefined>,
): (name: RepoName) => Promise<readonly Tag[]> {
  const known = createSizedCache<RepoName, KnownNames>({
    maxCost: maxNames,
    costOf: ({ good, doubtful }) => 1 + good.length + doubtful.length,
  })

  const look = async (name: RepoName, folders: readonly Tag[]): Promise<Looks> => {
    const looks: Looks = { good: [], doubtful: [] }
    const isTag = async (tag: Tag): Promise<[Tag, boolean]> => [
      tag,
      (await resolve(name, tag)) !== undefined,
    ]
    for await (const [tag, isGood] of mapOrdered(folders, width, isTag)) {
      looks[isGood ? 'good' : 'doubtful'].push(tag)
    }
    return looks
  }

  return async (name) => {
    // Before the listing: what changes in between makes the version old, never the listing.
    const version = (await driver.stat(tags(name)))?.version
    const last = known.get(name)
    if (version === undefined || last?.version !== version) {
      const { good, doubtful } = await look(name, await tagFolders(driver, name))
      good.sort()
      if (version === undefined) known.delete(name)
      else known.set(name, { version, good, doubtful })
      return good
    }
    const { good, doubtful } = await look(name, last.doubtful)
    if (good.length === 0) return last.good
    const sorted = [...last.good, ...good].sort()
    known.set(name, { version, good: sorted, doubtful })
    return sorted
  }
}

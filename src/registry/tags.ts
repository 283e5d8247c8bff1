import type { Digest } from '../lib/digest.ts'
import { RegistryError } from '../lib/errors.ts'
import type { RepoName, Tag } from '../lib/names.ts'
import { createTurns } from '../lib/turns.ts'
import type { StorageDriver } from '../storage/driver.ts'
import { tag as tagFolder, tagIndexLink, tagLink } from '../storage/layout.ts'
import type { Admission } from './admission.ts'
import { createLinkReader } from './link-reader.ts'
import { writeLink } from './links.ts'
import type { Listed, Page } from './pages.ts'
import { createManifestFinder } from './revisions.ts'
import { createTagNames } from './tag-names.ts'

export type Tags = {
  /** What a tag means; undefined if there is no such tag. Never older than the call. */
  resolve(name: RepoName, tag: Tag): Promise<Digest | undefined>
  /** Tags in ASCII order. @throws NAME_UNKNOWN for a repository without a manifest */
  list(name: RepoName, page: Page): Promise<Listed<Tag>>
  /** Points a tag to a manifest; durable. */
  set(name: RepoName, tag: Tag, digest: Digest): Promise<void>
  /**
   * Points a tag to `instead`, or removes it for undefined, if it means `digest`; durable. It asks
   * nobody, being part of something that is admitted.
   */
  replace(
    name: RepoName,
    tag: Tag,
    change: { readonly digest: Digest; readonly instead: Digest | undefined },
  ): Promise<void>
  /** Removes the tag and nothing else. @throws MANIFEST_UNKNOWN, DELETE_DISABLED, READ_ONLY */
  delete(name: RepoName, tag: Tag): Promise<void>
}

export type TagsOptions = { readonly driver: StorageDriver; readonly admission: Admission }

/** Tags of repositories in a folder that other processes may change at any time. */
export function createTags({ driver, admission }: TagsOptions): Tags {
  const readLink = createLinkReader(driver)
  const hasManifest = createManifestFinder(driver)
  const resolve: Tags['resolve'] = (name, tag) => readLink(tagLink(name, tag))
  const tagNames = createTagNames(driver)
  // Between a look at a tag and its removal no push of this process may come; for other processes the
  // time between the two is too short to matter.
  const inTurn = createTurns()

  const write = async (name: RepoName, tag: Tag, digest: Digest): Promise<void> => {
    await writeLink(driver, tagIndexLink(name, tag, digest), digest)
    await writeLink(driver, tagLink(name, tag), digest)
  }
  const remove = (name: RepoName, tag: Tag): Promise<boolean> =>
    driver.remove(tagFolder(name, tag), { durable: true })

  return {
    resolve,
    set: (name, tag, digest) => inTurn(tagFolder(name, tag), async () => write(name, tag, digest)),

    async list(name, page) {
      const names = await tagNames(name)
      if (names.length === 0 && !(await hasManifest(name))) {
        throw new RegistryError('NAME_UNKNOWN', { name })
      }
      return pageOf(names, page)
    },

    replace: (name, tag, { digest, instead }) =>
      inTurn(tagFolder(name, tag), async () => {
        if ((await resolve(name, tag)) !== digest) return
        if (instead === undefined) await remove(name, tag)
        else await write(name, tag, instead)
      }),

    async delete(name, tag) {
      await admission.delete()
      await inTurn(tagFolder(name, tag), async () => {
        // A folder without a current link is no tag, it may be a push that is under way.
        const isTag = (await resolve(name, tag)) !== undefined
        if (!isTag || !(await remove(name, tag)))
          throw new RegistryError('MANIFEST_UNKNOWN', { tag })
      })
    },
  }
}

/** The part of a sorted list that a page is. */
function pageOf<T extends string>(sorted: readonly T[], { limit, after }: Page): Listed<T> {
  const start = after === undefined ? 0 : firstAfter(sorted, after)
  const end = limit === undefined ? sorted.length : Math.min(start + limit, sorted.length)
  // OCI distribution-spec "Listing Tags": for `n` of zero there must be no Link.
  return { entries: sorted.slice(start, end), more: limit !== 0 && end < sorted.length }
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

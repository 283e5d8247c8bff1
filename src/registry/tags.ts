import type { Digest } from '../lib/digest.ts'
import { RegistryError } from '../lib/errors.ts'
import type { RepoName, Tag } from '../lib/names.ts'
import { createTurns } from '../lib/turns.ts'
import type { StorageDriver, StoragePath } from '../storage/driver.ts'
import { currentLink, historyLink, tag as tagFolder, tagLink } from '../storage/layout.ts'
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
  /** Points a tag to a manifest; durable. Resolves with what it meant before. */
  set(name: RepoName, tag: Tag, digest: Digest): Promise<Digest | undefined>
  /**
   * Points a tag to `instead`, or removes it for undefined, if it means `digest`; durable. What a push
   * beside us makes of the tag is never lost, but the tag may be absent for a moment. It asks nobody,
   * being part of something that is admitted.
   */
  replace(name: RepoName, tag: Tag, change: TagChange): Promise<void>
  /** Removes the tag and nothing else. @throws MANIFEST_UNKNOWN, DELETE_DISABLED, READ_ONLY */
  delete(name: RepoName, tag: Tag): Promise<void>
}

export type TagChange = {
  readonly digest: Digest
  readonly instead: Digest | undefined
  /** Asked when nobody else can set the tag unnoticed any more; false leaves it as it is. */
  readonly isDue?: () => Promise<boolean>
}

export type TagsOptions = { readonly driver: StorageDriver; readonly admission: Admission }

/** Tags of repositories in a folder that other processes may change at any time. */
export function createTags({ driver, admission }: TagsOptions): Tags {
  const readLink = createLinkReader(driver)
  const hasManifest = createManifestFinder(driver)
  const resolve: Tags['resolve'] = (name, tag) => readLink(tagLink(name, tag))
  const tagNames = createTagNames(driver)
  const hasAnything = async (name: RepoName): Promise<boolean> =>
    (await hasManifest(name)) ||
    (await tagNames(name, { limit: 1, after: undefined })).entries.length > 0
  // Spares pushes of this process what one of another may meet: a tag that is gone for a moment.
  const inTurn = createTurns()

  const point = async (folder: StoragePath, digest: Digest): Promise<void> => {
    await writeLink(driver, historyLink(folder, digest), digest)
    await writeLink(driver, currentLink(folder), digest)
  }

  return {
    resolve,
    async set(name, tag, digest) {
      const folder = tagFolder(name, tag)
      return await inTurn(folder, async () => {
        const before = await readLink(currentLink(folder))
        await point(folder, digest)
        return before
      })
    },

    async list(name, page) {
      const part = await tagNames(name, page)
      if (part.entries.length === 0 && !(await hasAnything(name))) {
        throw new RegistryError('NAME_UNKNOWN', { name })
      }
      return part
    },

    async replace(name, tag, { digest, instead, isDue = always }) {
      // What the tag means is looked at where no other process can move it any more: one that does so
      // before is seen, and one after makes it anew.
      const confirm = async (folder: StoragePath): Promise<boolean> => {
        if ((await readLink(currentLink(folder))) !== digest || !(await isDue())) return false
        if (instead !== undefined) await point(folder, instead)
        return instead === undefined
      }
      const folder = tagFolder(name, tag)
      await inTurn(folder, async () => {
        if ((await readLink(currentLink(folder))) !== digest) return
        await driver.remove(folder, { durable: true, confirm })
      })
    },

    async delete(name, tag) {
      await admission.delete()
      await inTurn(tagFolder(name, tag), async () => {
        // A folder without a current link is no tag, it may be a push that is under way.
        const isTag = (await resolve(name, tag)) !== undefined
        if (!isTag || !(await driver.remove(tagFolder(name, tag), { durable: true })))
          throw new RegistryError('MANIFEST_UNKNOWN', { tag })
      })
    },
  }
}

async function always(): Promise<boolean> {
  return true
}

import type { Digest } from '../../lib/digest.ts'
import { mapOrdered } from '../../lib/map-ordered.ts'
import type { RepoName, Tag } from '../../lib/names.ts'
import type { StorageDriver, StoragePath } from '../../storage/driver.ts'
import {
  revision,
  revisionLink,
  revisions,
  tag as tagFolder,
  tagLink,
} from '../../storage/layout.ts'
import { readLink } from '../links.ts'
import { digestsIn, walkWidth } from '../store-walk.ts'
import { tagFolders } from '../tag-names.ts'

/** A time that is over in any case: that of something that has gone. */
const longAgo = 0

/** A manifest of a repository as a collection sees it, whether its link is whole or not. */
export type StoredRevision = {
  readonly digest: Digest
  /** Where its bytes are: elsewhere behind an alias. */
  readonly target: Digest
  readonly modifiedAt: number
}

export async function listRevisions(
  driver: StorageDriver,
  name: RepoName,
): Promise<StoredRevision[]> {
  const look = async (digest: Digest): Promise<StoredRevision> => ({
    digest,
    target: await targetOf(driver, revisionLink(name, digest), digest),
    modifiedAt: await linkTime(driver, revision(name, digest)),
  })
  return await Array.fromAsync(
    mapOrdered(await digestsIn(driver, revisions(name)), walkWidth, look),
  )
}

export type StoredTag = {
  readonly tag: Tag
  /** What it means; undefined for one that leads nowhere. */
  readonly current: Digest | undefined
  /** What it ever meant. */
  readonly history: readonly Digest[]
}

export async function listTags(driver: StorageDriver, name: RepoName): Promise<StoredTag[]> {
  const look = async (tag: Tag): Promise<StoredTag> => ({
    tag,
    history: await digestsIn(driver, `${tagFolder(name, tag)}/index`),
    current: await readLink(driver, tagLink(name, tag)),
  })
  return await Array.fromAsync(mapOrdered(await tagFolders(driver, name), walkWidth, look))
}

/** Where a link leads. registry:3 has links under sha512 that lead to sha256; others name their target. */
export async function targetOf(
  driver: StorageDriver,
  link: StoragePath,
  digest: Digest,
): Promise<Digest> {
  return isAliasable(digest) ? ((await readLink(driver, link)) ?? digest) : digest
}

/** True for a digest whose link may hold another. */
export function isAliasable(digest: Digest): boolean {
  return !digest.startsWith('sha256:')
}

/** When the link in a folder was last written or used; when the folder was, if there is no link. */
export async function linkTime(driver: StorageDriver, folder: StoragePath): Promise<number> {
  const stat = (await driver.stat(`${folder}/link`)) ?? (await driver.stat(folder))
  return stat?.modifiedAt ?? longAgo
}

import type { Digest } from '../../lib/digest.ts'
import type { RepoName } from '../../lib/names.ts'
import { createSizedCache } from '../../lib/sized-cache.ts'
import type { StorageDriver } from '../../storage/driver.ts'
import { blobData, revisionLink, revisionMediaType } from '../../storage/layout.ts'
import { isContentOf, isStorable } from '../digester.ts'
import { createLinkReader } from '../link-reader.ts'
import { type MediaTypeHint, readMediaType } from './document.ts'
import type { Manifest } from './manifests.ts'
import { isMediaType } from './media-types.ts'

const maxCachedBytes = 32 * 1024 * 1024
/** What keeping even an empty manifest costs. */
const overheadBytes = 512
/** Nothing larger is a manifest, whatever links to it. */
export const maxManifestBytes = 64 * 1024 * 1024

type Stored = MediaTypeHint & { readonly content: Buffer }

export type ManifestReader = {
  /** The digest of the bytes that a revision of a repository has; undefined if there is none. */
  follow(name: RepoName, digest: Digest): Promise<Digest | undefined>
  /** A manifest of a repository; undefined if it has none, or only a torn one. */
  read(name: RepoName, digest: Digest): Promise<Manifest | undefined>
}

/**
 * Reads manifests, from memory where it can: bytes that have a digest never change, so a look at the
 * revision link is enough to know that the manifest still belongs to the repository.
 */
export function createManifestReader(driver: StorageDriver): ManifestReader {
  const readLink = createLinkReader(driver)
  const cache = createSizedCache<Digest, Stored>({
    maxCost: maxCachedBytes,
    costOf: ({ content }) => content.length + overheadBytes,
  })

  const follow: ManifestReader['follow'] = async (name, digest) => {
    if (!isStorable(digest)) return undefined
    const target = await readLink(revisionLink(name, digest))
    if (target === undefined || target === digest) return target
    // registry:3 keeps a sha512 as another name of a sha256 revision, and deletes only the latter.
    return (await readLink(revisionLink(name, target))) === target ? target : undefined
  }

  const load = async (digest: Digest): Promise<Stored | undefined> => {
    const cached = cache.get(digest)
    if (cached !== undefined) return cached
    const { size = 0 } = (await driver.stat(blobData(digest))) ?? {}
    if (size === 0 || size > maxManifestBytes) return undefined
    const file = await driver.read(blobData(digest))
    const hint = file && readMediaType(file.content)
    // Once for as long as it is remembered: what is damaged is not served, and heals when it is pushed.
    if (file === undefined || hint === undefined || !isContentOf(digest, file.content))
      return undefined
    const stored = { ...hint, content: file.content }
    cache.set(digest, stored)
    return stored
  }

  return {
    follow,
    async read(name, digest) {
      const target = await follow(name, digest)
      const stored = target && (await load(target))
      if (target === undefined || stored === undefined) return undefined
      const { content, stated, implied } = stored
      const mediaType = stated ?? (await sideType(driver, name, target)) ?? implied
      return { digest, mediaType, content }
    },
  }
}

/** The media type beside a revision link, of a manifest that does not tell its own. */
async function sideType(
  driver: StorageDriver,
  name: RepoName,
  digest: Digest,
): Promise<string | undefined> {
  const file = await driver.read(revisionMediaType(name, digest))
  const text = file?.content.toString('latin1').trim()
  return isMediaType(text) ? text : undefined
}

import { type Digest, isDigest } from '../lib/digest.ts'
import { RegistryError } from '../lib/errors.ts'
import type { RepoName } from '../lib/names.ts'
import { revisionLink } from '../storage/layout.ts'
import { isStorable } from './digester.ts'
import { createLinkReader } from './link-reader.ts'
import { isJson, listOf } from './manifests/check.ts'
import { readAnnotations, readManifest } from './manifests/document.ts'
import type { Manifest } from './manifests/manifests.ts'
import { isMediaType } from './manifests/media-types.ts'
import type { ReferrerDescriptor, ReferrersOptions } from './referrers.ts'
import { storedTag } from './stored-names.ts'
import { createSubjectIndex } from './subject-index.ts'

/** Digests that may be of referrers, with what a referrers tag says of them. */
export type Candidates = ReadonlyMap<Digest, ReferrerDescriptor | undefined>

export type ReferrerSources = {
  /** Manifests of the repository that refer to `subject`, or are said to. */
  find(name: RepoName, subject: Digest): Promise<Candidates>
  /** The descriptor of a manifest of the repository; `listed` for one that cannot be read. */
  describe(
    name: RepoName,
    digest: Digest,
    listed: ReferrerDescriptor | undefined,
  ): Promise<ReferrerDescriptor | undefined>
}

/** The two places that tell of referrers: their own manifests, and the tag of clients without the API. */
export function createReferrerSources({
  driver,
  manifests,
  tags,
}: ReferrersOptions): ReferrerSources {
  const readLink = createLinkReader(driver)
  const referrersOf = createSubjectIndex(driver)

  const get = async (name: RepoName, digest: Digest): Promise<Manifest | undefined> => {
    try {
      return await manifests.get(name, digest)
    } catch (error) {
      if (error instanceof RegistryError && error.code === 'MANIFEST_UNKNOWN') return undefined
      throw error
    }
  }

  /** Whether it is a revision in its own right, not another name of one. */
  const isRevision = async (name: RepoName, digest: Digest): Promise<boolean> =>
    (await readLink(revisionLink(name, digest))) === digest

  const listedByTag = async (name: RepoName, subject: Digest): Promise<ReferrerDescriptor[]> => {
    const tag = storedTag(referrersTag(subject))
    const digest = tag && (await tags.resolve(name, tag))
    const index = digest && (await get(name, digest))
    return index ? descriptorsIn(index) : []
  }

  return {
    async find(name, subject) {
      const candidates = new Map<Digest, ReferrerDescriptor | undefined>()
      for (const entry of await listedByTag(name, subject)) candidates.set(entry.digest, entry)
      for (const digest of await referrersOf(name, subject)) {
        if (!candidates.has(digest)) candidates.set(digest, undefined)
      }
      return candidates
    },

    async describe(name, digest, listed) {
      if (!(await isRevision(name, digest))) return undefined
      const manifest = await get(name, digest)
      return manifest ? descriptorOf(manifest) : listed
    },
  }
}

/**
 * The tag under which clients list referrers on registries without the API; OCI distribution-spec
 * "Referrers Tag Schema".
 */
export function referrersTag(subject: Digest): string {
  const [algorithm = '', encoded = ''] = subject.split(':')
  return `${algorithm.slice(0, 32)}-${encoded.slice(0, 64)}`.replaceAll(/[^A-Za-z0-9._-]/g, '-')
}

function descriptorOf({ digest, mediaType, content }: Manifest): ReferrerDescriptor {
  const { artifactType, annotations } = readManifest(content, mediaType) ?? {}
  return {
    mediaType,
    digest,
    size: content.length,
    ...(artifactType !== undefined && { artifactType }),
    ...(annotations !== undefined && { annotations }),
  }
}

/** The descriptors that an index lists, without what it cannot mean. */
function descriptorsIn({ content }: Manifest): ReferrerDescriptor[] {
  const index: unknown = JSON.parse(content.toString())
  return listOf(isJson(index) && index['manifests']).flatMap((entry) => {
    const { mediaType, digest, size, artifactType, annotations } = isJson(entry) ? entry : {}
    if (typeof digest !== 'string' || !isDigest(digest) || !isStorable(digest)) return []
    if (!isMediaType(mediaType) || typeof size !== 'number') return []
    const notes = readAnnotations(annotations)
    return {
      mediaType,
      digest,
      size,
      ...(typeof artifactType === 'string' && { artifactType }),
      ...(notes !== undefined && { annotations: notes }),
    }
  })
}

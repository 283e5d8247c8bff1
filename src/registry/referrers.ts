import type { Digest } from '../lib/digest.ts'
import { mapOrdered } from '../lib/map-ordered.ts'
import type { RepoName } from '../lib/names.ts'
import type { StorageDriver } from '../storage/driver.ts'
import type { Manifests } from './manifests/manifests.ts'
import type { Listed } from './pages.ts'
import { createReferrerSources } from './referrer-sources.ts'
import type { Tags } from './tags.ts'

/** An entry of a referrers answer; OCI image-spec "Descriptors". */
export type ReferrerDescriptor = {
  readonly mediaType: string
  readonly digest: Digest
  readonly size: number
  readonly artifactType?: string
  readonly annotations?: Readonly<Record<string, string>>
}

export type Referrers = {
  /**
   * Manifests of the repository whose `subject` is this digest, and those that its referrers tag
   * lists, in the order of their digests; at most as many as make a body of about 4 MiB.
   * OCI distribution-spec "Listing Referrers".
   */
  list(
    name: RepoName,
    subject: Digest,
    options: { readonly artifactType: string | undefined; readonly after: string | undefined },
  ): Promise<Listed<ReferrerDescriptor>>
}

export type ReferrersOptions = {
  readonly driver: StorageDriver
  readonly manifests: Manifests
  readonly tags: Tags
}

/** Clients read an answer as they read a manifest, of which few take more. */
const maxPageBytes = 4 * 1024 * 1024 - 4096
const width = 16

/** Finds referrers by what their manifests say, so that nothing has to be kept up to date. */
export function createReferrers(options: ReferrersOptions): Referrers {
  const sources = createReferrerSources(options)

  return {
    async list(name, subject, { artifactType, after = '' }) {
      const candidates = await sources.find(name, subject)
      const wanted = [...candidates.keys()].filter((digest) => digest > after).sort()
      const describe = (digest: Digest): Promise<ReferrerDescriptor | undefined> =>
        sources.describe(name, digest, candidates.get(digest))

      const entries: ReferrerDescriptor[] = []
      let bytes = 0
      for await (const entry of mapOrdered(wanted, width, describe)) {
        if (entry === undefined) continue
        if (artifactType !== undefined && entry.artifactType !== artifactType) continue
        bytes += Buffer.byteLength(JSON.stringify(entry)) + 1
        if (bytes > maxPageBytes && entries.length > 0) return { entries, more: true }
        entries.push(entry)
      }
      return { entries, more: false }
    },
  }
}

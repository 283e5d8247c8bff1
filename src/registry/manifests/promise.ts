import type { Digest } from '../../lib/digest.ts'
import type { RepoName } from '../../lib/names.ts'
import type { StorageDriver, StoragePath } from '../../storage/driver.ts'
import { blobFolder, revision, revisionLink } from '../../storage/layout.ts'
import { settleSweeps } from '../sweeps.ts'
import { isNoted, noteUse } from '../use.ts'
import type { Manifest } from './manifests.ts'
import type { ManifestReader } from './reader.ts'

export type ManifestPromiseOptions = {
  readonly driver: StorageDriver
  readonly reader: ManifestReader
}

/**
 * Makes a function that reads a manifest, undefined if the repository has none. What it finds will not
 * be collected before its grace is over, tagged or not; the order that makes this true is that of
 * `promiseBlob`.
 */
export function createManifestPromise({
  driver,
  reader,
}: ManifestPromiseOptions): (name: RepoName, digest: Digest) => Promise<Manifest | undefined> {
  /** The older of the times of the links. */
  const usedAt = async (links: readonly StoragePath[]): Promise<number> => {
    const stats = await Promise.all(links.map((link) => driver.stat(link)))
    return Math.min(...stats.map((stat) => stat?.modifiedAt ?? 0))
  }

  return async (name, digest) => {
    for (let noted: Digest | undefined; ; ) {
      const at = Date.now()
      await settleSweeps(driver, sweepable(name, noted === undefined ? [digest] : [digest, noted]))
      const target = await reader.follow(name, digest)
      if (target === undefined) return undefined
      const links = [revisionLink(name, digest), revisionLink(name, target)]
      const isSafe = target === noted || (target === digest && isNoted(await usedAt(links), at))
      if (isSafe) return await reader.read(name, digest)
      noted = target
      await noteUse(driver, links)
    }
  }
}

/** What a collection might remove of manifests in a repository. */
function sweepable(name: RepoName, digests: readonly Digest[]): readonly StoragePath[] {
  return digests.flatMap((digest) => [blobFolder(digest), revision(name, digest)])
}

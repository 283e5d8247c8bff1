import type { RepoName } from '../lib/names.ts'
import { createSizedCache } from '../lib/sized-cache.ts'
import type { StorageDriver, StoragePath } from '../storage/driver.ts'
import { revisionLink, revisions } from '../storage/layout.ts'
import { readLink } from './links.ts'
import { digestsIn } from './store-walk.ts'

const maxHints = 32_768

/**
 * Tells whether a repository holds any manifest. Remembers where it found one, so that the next time
 * one look is enough, however large the repository is.
 */
export function createManifestFinder(driver: StorageDriver): (name: RepoName) => Promise<boolean> {
  const hints = createSizedCache<RepoName, StoragePath>({ maxCost: maxHints, costOf: () => 1 })

  return async (name) => {
    const hint = hints.get(name)
    if (hint !== undefined && ((await driver.stat(hint))?.size ?? 0) > 0) return true
    hints.delete(name)
    for (const digest of await digestsIn(driver, revisions(name))) {
      const path = revisionLink(name, digest)
      if ((await readLink(driver, path)) === undefined) continue
      hints.set(name, path)
      return true
    }
    return false
  }
}

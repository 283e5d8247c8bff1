import type { Digest } from '../lib/digest.ts'
import { createSizedCache } from '../lib/sized-cache.ts'
import type { StorageDriver, StoragePath } from '../storage/driver.ts'
import { isStorable } from './digester.ts'
import { parseLink } from './links.ts'

/** Links kept in memory: about 12 MiB. */
const maxLinks = 32_768

type KnownLink = { readonly version: string; readonly digest: Digest | undefined }

/**
 * Reads links as `readLink` does, to where storage has places, from memory as long as the file has the
 * version it had: what another process wrote before the call is always seen.
 */
export function createLinkReader(
  driver: StorageDriver,
): (path: StoragePath) => Promise<Digest | undefined> {
  const known = createSizedCache<StoragePath, KnownLink>({ maxCost: maxLinks, costOf: () => 1 })

  return async (path) => {
    const link = known.get(path)
    if (link !== undefined && (await driver.stat(path))?.version === link.version) {
      return link.digest
    }
    const file = await driver.read(path)
    const target = file && parseLink(file.content)
    const digest = target !== undefined && isStorable(target) ? target : undefined
    if (file?.stat.version === undefined) known.delete(path)
    else known.set(path, { version: file.stat.version, digest })
    return digest
  }
}

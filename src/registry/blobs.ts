import type { Digest } from '../lib/digest.ts'
import { RegistryError } from '../lib/errors.ts'
import type { RepoName } from '../lib/names.ts'
import type { StorageDriver, StoredReader } from '../storage/driver.ts'
import { blobData, layer, layerLink } from '../storage/layout.ts'
import type { Admission } from './admission.ts'
import { isStorable } from './digester.ts'
import { findBlob, promiseBlob } from './layer-links.ts'
import { readLink } from './links.ts'

/** The blobs of repositories: what its layer links lead to. */
export type Blobs = {
  /**
   * Size of a blob in bytes. A client may take this for a promise and not push the blob: so it counts
   * as use, and a collection honours its grace from here.
   * @throws BLOB_UNKNOWN when the repository has no such blob, even if another has
   */
  stat(name: RepoName, digest: Digest): Promise<{ readonly size: number }>
  /** Opens a blob to read; the caller closes it. @throws BLOB_UNKNOWN */
  open(name: RepoName, digest: Digest): Promise<StoredReader>
  /** Takes the blob from the repository; the bytes stay until a collection. @throws BLOB_UNKNOWN, DELETE_DISABLED, READ_ONLY */
  delete(name: RepoName, digest: Digest): Promise<void>
}

export type BlobsOptions = { readonly driver: StorageDriver; readonly admission: Admission }

export function createBlobs({ driver, admission }: BlobsOptions): Blobs {
  return {
    async stat(name, digest) {
      const blob = await promiseBlob(driver, name, digest)
      if (blob === undefined) throw unknownBlob(digest)
      return { size: blob.size }
    },
    async open(name, digest) {
      const reader = isStorable(digest) ? await openLinked(driver, name, digest) : undefined
      if (reader === undefined) throw unknownBlob(digest)
      return reader
    },
    async delete(name, digest) {
      await admission.delete()
      const isRemoved =
        isStorable(digest) && (await driver.remove(layer(name, digest), { durable: true }))
      if (!isRemoved) throw unknownBlob(digest)
    },
  }
}

/** Looks at the link and opens the bytes at once, which are nearly always where the digest says. */
async function openLinked(
  driver: StorageDriver,
  name: RepoName,
  digest: Digest,
): Promise<StoredReader | undefined> {
  const [link, data] = await Promise.allSettled([
    readLink(driver, layerLink(name, digest)),
    driver.open(blobData(digest)),
  ])
  const reader = data.status === 'fulfilled' ? data.value : undefined
  if (link.status === 'fulfilled' && link.value === digest) {
    if (data.status === 'rejected') throw data.reason
    return reader
  }
  await reader?.[Symbol.asyncDispose]()
  if (link.status === 'rejected') throw link.reason
  if (link.value === undefined) return undefined
  const alias = await findBlob(driver, name, digest)
  return alias && (await driver.open(blobData(alias.target)))
}

function unknownBlob(digest: Digest): RegistryError {
  return new RegistryError('BLOB_UNKNOWN', { digest })
}

import type { StorageDriver } from '../storage/driver.ts'
import type { Admission } from './admission.ts'
import { type Blobs, createBlobs } from './blobs.ts'
import { type Catalog, createCatalog } from './catalog.ts'
import { createManifests, type Manifests } from './manifests/manifests.ts'
import { createReferrers, type Referrers } from './referrers.ts'
import { createTags, type Tags } from './tags.ts'
import { createUploads, type Uploads } from './uploads/uploads.ts'

/** An OCI registry on registry:2's folder layout, pure of HTTP. */
export type Registry = {
  readonly blobs: Blobs
  readonly uploads: Uploads
  readonly manifests: Manifests
  readonly tags: Tags
  readonly catalog: Catalog
  readonly referrers: Referrers
  /** Resolves if it could answer now. */
  probe(): Promise<void>
}

/** The registry over what is stored behind `driver`. */
export function createRegistry(parts: {
  readonly driver: StorageDriver
  readonly admission: Admission
}): Registry {
  const { driver } = parts
  const tags = createTags(parts)
  const manifests = createManifests({ ...parts, tags })
  return {
    blobs: createBlobs(parts),
    uploads: createUploads(parts),
    manifests,
    tags,
    catalog: createCatalog({ driver }),
    referrers: createReferrers({ driver, manifests, tags }),
    async probe() {
      await driver.space()
    },
  }
}

import type { Digest } from '../lib/digest.ts'
import type { StorageDriver, StoragePath } from '../storage/driver.ts'
import { blobData } from '../storage/layout.ts'
import { isContentOf, isStorable } from './digester.ts'
import { readMediaType, referencesOf } from './manifests/document.ts'

/** Nothing larger is a manifest. */
const maxManifestBytes = 64 * 1024 * 1024

/** What a stored manifest refers to. */
export type StoredReferences = {
  /** False when the bytes are missing or damaged, so that nobody knows what they referred to. */
  readonly isKnown: boolean
  readonly blobs: readonly Digest[]
  readonly manifests: readonly Digest[]
  readonly subject: Digest | undefined
}

const unknown: StoredReferences = { isKnown: false, blobs: [], manifests: [], subject: undefined }

/**
 * Reads what the manifest under `digest` refers to, as far as that could be stored here. The file at
 * `mediaTypePath` may tell its media type where it does not itself.
 */
export async function readReferences(
  driver: StorageDriver,
  digest: Digest,
  mediaTypePath?: StoragePath,
): Promise<StoredReferences> {
  const size = (await driver.stat(blobData(digest)))?.size ?? 0
  const file =
    size === 0 || size > maxManifestBytes ? undefined : await driver.read(blobData(digest))
  const hint = file && readMediaType(file.content)
  if (file === undefined || hint === undefined || !isContentOf(digest, file.content)) return unknown
  const isAsked = hint.stated === undefined && mediaTypePath !== undefined
  const beside = isAsked ? await driver.read(mediaTypePath) : undefined
  const found = referencesOf(file.content, beside?.content.toString('latin1').trim())
  return {
    isKnown: true,
    blobs: found.blobs.filter(isStorable),
    manifests: found.manifests.filter(isStorable),
    subject: found.subject,
  }
}

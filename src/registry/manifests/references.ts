import type { Digest } from '../../lib/digest.ts'
import { RegistryError } from '../../lib/errors.ts'
import { mapOrdered } from '../../lib/map-ordered.ts'
import type { RepoName } from '../../lib/names.ts'
import type { StorageDriver, StoragePath } from '../../storage/driver.ts'
import { blobData, blobFolder, layer, revision, revisionLink } from '../../storage/layout.ts'
import { isStorable } from '../digester.ts'
import { findBlob } from '../layer-links.ts'
import { readLink } from '../links.ts'
import type { ManifestDocument } from './document.ts'

const width = 16
/** Digests named in an error: a manifest has room for tens of thousands. */
const maxNamed = 100

/** Where a repository may hold a reference. */
type Home = 'layers' | 'revisions'
type Reference = {
  readonly digest: Digest
  readonly required: boolean
  readonly homes: readonly Home[]
}
/** A reference that is there, and the folders that must stay for that. */
type Found = Reference & { readonly folders: readonly StoragePath[] }

/** Content that a manifest refers to and that is in its repository. */
export type FoundReferences = {
  /** Folders that must stay for this to be so. */
  readonly folders: readonly StoragePath[]
  /** Digests of which this is no longer so. */
  lost(): Promise<Digest[]>
}

/**
 * Looks for everything that a manifest refers to, without reading any of it. The subject may be
 * absent: OCI distribution-spec "Pushing Manifests with Subject".
 * @throws MANIFEST_BLOB_UNKNOWN when something that is required is not in the repository
 */
export async function findReferences(
  driver: StorageDriver,
  name: RepoName,
  document: ManifestDocument,
): Promise<FoundReferences> {
  const found: Found[] = []
  const missing: Digest[] = []
  const look = async (reference: Reference): Promise<Found | Reference> => {
    const folders = await foldersOf(driver, name, reference)
    return folders === undefined ? reference : { ...reference, folders }
  }
  for await (const reference of mapOrdered(referencesIn(document), width, look)) {
    if ('folders' in reference) found.push(reference)
    else if (reference.required) missing.push(reference.digest)
  }
  if (missing.length > 0) throw blobsUnknown(missing)
  return {
    folders: found.flatMap(({ folders }) => folders),
    async lost() {
      const gone: Digest[] = []
      const isThere = async (reference: Found): Promise<void> => {
        const folders = await foldersOf(driver, name, reference)
        if (folders === undefined) gone.push(reference.digest)
      }
      await Array.fromAsync(mapOrdered(found, width, isThere))
      return gone
    },
  }
}

/** MANIFEST_BLOB_UNKNOWN with the digests that are missing. */
export function blobsUnknown(missing: readonly Digest[]): RegistryError {
  return new RegistryError('MANIFEST_BLOB_UNKNOWN', { missing: missing.slice(0, maxNamed) })
}

function referencesIn({ blobs, manifests, others }: ManifestDocument): Iterable<Reference> {
  const references = new Map<string, Reference>()
  const add = (digest: Digest, required: boolean, homes: readonly Home[]): void => {
    const key = `${homes.join()} ${digest}`
    const isRequired = required || (references.get(key)?.required ?? false)
    references.set(key, { digest, required: isRequired, homes })
  }
  for (const { digest, required } of blobs) add(digest, required, ['layers'])
  for (const digest of manifests) add(digest, true, ['revisions'])
  for (const digest of others) add(digest, true, ['revisions', 'layers'])
  return references.values()
}

async function foldersOf(
  driver: StorageDriver,
  name: RepoName,
  { digest, homes }: Reference,
): Promise<readonly StoragePath[] | undefined> {
  for (const home of homes) {
    const isLayer = home === 'layers'
    const target = isLayer
      ? (await findBlob(driver, name, digest))?.target
      : await findRevision(driver, name, digest)
    if (target === undefined) continue
    const folder = isLayer ? layer : revision
    return [folder(name, digest), folder(name, target), blobFolder(target)]
  }
  return undefined
}

/** The digest of a manifest's bytes, which are there; as `findBlob` for blobs. */
async function findRevision(
  driver: StorageDriver,
  name: RepoName,
  digest: Digest,
): Promise<Digest | undefined> {
  const target = isStorable(digest) ? await readLink(driver, revisionLink(name, digest)) : undefined
  if (target === undefined || !isStorable(target)) return undefined
  if (target !== digest && (await readLink(driver, revisionLink(name, target))) !== target) {
    return undefined
  }
  return (await driver.stat(blobData(target)))?.kind === 'file' ? target : undefined
}

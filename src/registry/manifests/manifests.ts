import type { Digest } from '../../lib/digest.ts'
import { isDigest } from '../../lib/digest.ts'
import { RegistryError } from '../../lib/errors.ts'
import { mapOrdered } from '../../lib/map-ordered.ts'
import type { RepoName, Tag } from '../../lib/names.ts'
import type { StorageDriver } from '../../storage/driver.ts'
import { revision } from '../../storage/layout.ts'
import type { Admission } from '../admission.ts'
import { tagFolders } from '../tag-names.ts'
import type { Tags } from '../tags.ts'
import { createManifestPromise } from './promise.ts'
import { createManifestPush } from './push.ts'
import { createManifestReader, type ManifestReader } from './reader.ts'

export type Manifest = {
  readonly digest: Digest
  readonly mediaType: string
  /** The exact bytes that were pushed. */
  readonly content: Buffer
}

export type ManifestPush = {
  /** The digest that the client says it is; with it `tags` may be empty. */
  readonly digest: Digest | undefined
  readonly tags: readonly Tag[]
  /** Content-Type without parameters; undefined if there was none. */
  readonly mediaType: string | undefined
  readonly content: Buffer
}

/** The manifests of repositories: what revision links and tags lead to. */
export type Manifests = {
  /** @throws MANIFEST_UNKNOWN */
  get(name: RepoName, reference: Tag | Digest): Promise<Manifest>
  /**
   * As `get`, for a client that asks whether it need push a manifest: one asked for by digest counts as
   * used, so that a collection honours its grace from here even if no tag leads to it.
   * @throws MANIFEST_UNKNOWN
   */
  promise(name: RepoName, reference: Tag | Digest): Promise<Manifest>
  /** What can be decided about a push before its bytes are there. @throws READ_ONLY */
  admit(): Promise<void>
  /**
   * Stores a manifest and points the tags to it; resolves when that is durable. The tag link is the
   * point of no return.
   * @throws MANIFEST_INVALID, MANIFEST_BLOB_UNKNOWN, DIGEST_MISMATCH, DIGEST_INVALID, READ_ONLY, STORAGE_FULL
   */
  put(
    name: RepoName,
    push: ManifestPush,
  ): Promise<{ readonly digest: Digest; readonly subject: Digest | undefined }>
  /** Takes a manifest and every tag on it from the repository. @throws MANIFEST_UNKNOWN, DELETE_DISABLED, READ_ONLY */
  delete(name: RepoName, digest: Digest): Promise<void>
}

export type ManifestsOptions = {
  readonly driver: StorageDriver
  readonly admission: Admission
  readonly tags: Tags
}

/** Tags looked at together when a manifest is deleted. */
const width = 16

/** Manifests in a folder that other processes may change at any time. */
export function createManifests({ driver, admission, tags }: ManifestsOptions): Manifests {
  const reader = createManifestReader(driver)

  const getTagged = async (name: RepoName, tag: Tag): Promise<Manifest | undefined> => {
    let digest = await tags.resolve(name, tag)
    while (digest !== undefined) {
      const manifest = await reader.read(name, digest)
      if (manifest !== undefined) return manifest
      // The manifest may be gone because the tag was moved on and the old one deleted.
      const looked = digest
      digest = await tags.resolve(name, tag)
      if (digest === looked) return undefined
    }
    return undefined
  }

  const untag = async (name: RepoName, digest: Digest): Promise<void> => {
    const remove = async (tag: Tag): Promise<void> => {
      // From memory for most: only few of many tags mean the manifest.
      if ((await tags.resolve(name, tag)) !== digest) return
      await tags.replace(name, tag, { digest, instead: undefined })
    }
    await Array.fromAsync(mapOrdered(await tagFolders(driver, name), width, remove))
  }

  const readAs =
    (readDigest: ManifestReader['read']): Manifests['get'] =>
    async (name, reference) => {
      const manifest = isDigest(reference)
        ? await readDigest(name, reference)
        : await getTagged(name, reference)
      if (manifest === undefined) throw new RegistryError('MANIFEST_UNKNOWN', { reference })
      return manifest
    }

  return {
    get: readAs(reader.read),
    promise: readAs(createManifestPromise({ driver, reader })),
    admit: admission.write,
    put: createManifestPush({ driver, admission, tags }),

    async delete(name, digest) {
      await admission.delete()
      if ((await reader.follow(name, digest)) === undefined)
        throw new RegistryError('MANIFEST_UNKNOWN', { digest })
      // Tags first: after a crash in between, no tag leads nowhere.
      await untag(name, digest)
      // A collection may be faster: it is gone all the same.
      await driver.remove(revision(name, digest), { durable: true })
      // A push beside us may have set a tag meanwhile. It looks after itself as long as it is under way.
      if ((await reader.follow(name, digest)) === undefined) await untag(name, digest)
    },
  }
}

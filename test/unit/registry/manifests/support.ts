import { createHash } from 'node:crypto'
import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ExecutionContext } from 'ava'
import { type Digest, parseDigest } from '../../../../src/lib/digest.ts'
import { type ErrorCode, RegistryError } from '../../../../src/lib/errors.ts'
import { parseRepoName, parseTag, type RepoName, type Tag } from '../../../../src/lib/names.ts'
import type { Admission } from '../../../../src/registry/admission.ts'
import { type Catalog, createCatalog } from '../../../../src/registry/catalog.ts'
import {
  createManifests,
  type Manifest,
  type Manifests,
} from '../../../../src/registry/manifests/manifests.ts'
import { createReferrers, type Referrers } from '../../../../src/registry/referrers.ts'
import { createTags, type Tags } from '../../../../src/registry/tags.ts'
import type { StorageDriver } from '../../../../src/storage/driver.ts'
import { createFilesystemDriver } from '../../../../src/storage/filesystem.ts'
import { blobData, layerLink, revisionLink } from '../../../../src/storage/layout.ts'

export const types = {
  image: 'application/vnd.oci.image.manifest.v1+json',
  index: 'application/vnd.oci.image.index.v1+json',
  dockerImage: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  artifact: 'application/vnd.oci.artifact.manifest.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar+gzip',
} as const

export const name = parseRepoName('library/alpine')
export const tag = (text: string): Tag => parseTag(text)
export const repo = (text: string): RepoName => parseRepoName(text)

export function digestOf(
  content: string | Buffer,
  algorithm: 'sha256' | 'sha512' = 'sha256',
): Digest {
  return parseDigest(`${algorithm}:${createHash(algorithm).update(content).digest('hex')}`)
}

export type Descriptor = {
  readonly mediaType: string
  readonly digest: Digest
  readonly size: number
}

export function describe(content: string | Buffer, mediaType: string = types.layer): Descriptor {
  return { mediaType, digest: digestOf(content), size: Buffer.byteLength(content) }
}

export const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value))

/** An image manifest that needs the blobs `{}` and `layers`. */
export function image(layers: readonly string[] = [], more: object = {}): Buffer {
  return json({
    schemaVersion: 2,
    mediaType: types.image,
    config: describe('{}', types.config),
    layers: layers.map((layer) => describe(layer)),
    ...more,
  })
}

export function index(manifests: readonly Descriptor[], more: object = {}): Buffer {
  return json({ schemaVersion: 2, mediaType: types.index, manifests, ...more })
}

export type Store = AsyncDisposable & {
  readonly root: string
  readonly driver: StorageDriver
  readonly tags: Tags
  readonly manifests: Manifests
  readonly catalog: Catalog
  readonly referrers: Referrers
  /** Makes blobs of the repository. */
  addBlobs(repository: RepoName, ...contents: readonly string[]): Promise<void>
  /** Puts a manifest without asking what it needs. */
  plant(repository: RepoName, content: Buffer): Promise<Digest>
  /** Pushes a manifest under tags. */
  push(content: Buffer, tags?: readonly string[], more?: PushMore): Promise<Digest>
}
export type PushMore = {
  readonly repository?: RepoName
  readonly mediaType?: string
  readonly digest?: Digest
}

export const allowAll: Admission = {
  isReadonly: async () => false,
  write: async () => {},
  upload: async () => {},
  delete: async () => {},
}

export type StoreOptions = {
  /** An existing folder, as another process on it would see it. */
  readonly root?: string
  readonly wrap?: (driver: StorageDriver) => StorageDriver
  readonly admission?: Admission
}

/** The parts of a registry that deal with manifests, on a real folder. */
export async function openStore(options: StoreOptions = {}): Promise<Store> {
  const { wrap = (driver) => driver, admission = allowAll } = options
  const folder = await mkdtempDisposable(join(tmpdir(), 'tidegate-'))
  const root = options.root ?? folder.path
  const driver = wrap(createFilesystemDriver({ root }))
  const tags = createTags({ driver, admission })
  const manifests = createManifests({ driver, admission, tags })
  return {
    root,
    driver,
    tags,
    manifests,
    catalog: createCatalog({ driver }),
    referrers: createReferrers({ driver, manifests, tags }),
    async addBlobs(repository, ...contents) {
      for (const content of contents) {
        const digest = digestOf(content)
        await driver.write(blobData(digest), content)
        await driver.write(layerLink(repository, digest), digest)
      }
    },
    async plant(repository, content) {
      const digest = digestOf(content)
      await driver.write(blobData(digest), content)
      await driver.write(revisionLink(repository, digest), digest)
      return digest
    },
    async push(content, tagNames = [], { repository = name, mediaType, digest } = {}) {
      const result = await manifests.put(repository, {
        content,
        mediaType,
        digest,
        tags: tagNames.map(tag),
      })
      return result.digest
    },
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  }
}

/** The error that `promise` rejects with, of the code that is expected. */
export async function rejectsCode(
  t: ExecutionContext,
  promise: Promise<unknown>,
  code: ErrorCode,
): Promise<RegistryError | undefined> {
  const error = await t.throwsAsync(promise, { instanceOf: RegistryError })
  t.is(error?.code, code)
  return error
}

/** What a pull of a tag gets, or the code of its error. */
export async function pull(
  manifests: Manifests,
  reference: Tag | Digest,
): Promise<Manifest | string> {
  try {
    return await manifests.get(name, reference)
  } catch (error) {
    if (error instanceof RegistryError) return error.code
    throw error
  }
}

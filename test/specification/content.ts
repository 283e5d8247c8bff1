import { createHash, randomBytes } from 'node:crypto'

/** Media types that the tests speak of. */
export const types = {
  image: 'application/vnd.oci.image.manifest.v1+json',
  index: 'application/vnd.oci.image.index.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar',
  zippedLayer: 'application/vnd.oci.image.layer.v1.tar+gzip',
  foreignLayer: 'application/vnd.oci.image.layer.nondistributable.v1.tar',
  empty: 'application/vnd.oci.empty.v1+json',
  bytes: 'application/octet-stream',
  dockerImage: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerConfig: 'application/vnd.docker.container.image.v1+json',
  dockerLayer: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
  artifactOne: 'application/vnd.example.one.v1',
  artifactTwo: 'application/vnd.example.two.v1',
} as const

export type Algorithm = 'sha256' | 'sha512'

/** Bytes with the digest by which they are pushed, and what a descriptor calls them. */
export type Content = {
  readonly bytes: Buffer
  readonly digest: string
  readonly mediaType: string
}

/** OCI image-spec "Descriptors". */
export type Descriptor = {
  readonly mediaType: string
  readonly digest: string
  readonly size: number
  readonly artifactType?: string
  readonly annotations?: Readonly<Record<string, string>>
}

/** What may be said of content beyond its bytes. */
export type Named = { readonly mediaType?: string; readonly algorithm?: Algorithm }

export function digestOf(bytes: Buffer | string, algorithm: Algorithm = 'sha256'): string {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`
}

/** A repository name that no other test uses. */
export function anyRepo(): string {
  return `spec/${randomBytes(6).toString('hex')}`
}

/** A digest of the right shape that nothing has. */
export function anyDigest(algorithm: Algorithm = 'sha256'): string {
  return digestOf(randomBytes(16), algorithm)
}

/** A blob of these bytes, or of that many random ones. */
export function blob(
  bytes: Buffer | string | number = 512,
  { mediaType = types.bytes, algorithm = 'sha256' }: Named = {},
): Content {
  const content = typeof bytes === 'number' ? randomBytes(bytes) : Buffer.from(bytes)
  return { bytes: content, digest: digestOf(content, algorithm), mediaType }
}

/** A manifest as JSON text, `mediaType` among its fields. */
export function manifest(
  mediaType: string,
  fields: Readonly<Record<string, unknown>>,
  algorithm: Algorithm = 'sha256',
): Content {
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, ...fields }))
  return { bytes, digest: digestOf(bytes, algorithm), mediaType }
}

/** An OCI image manifest of these blobs. */
export function image(
  {
    config,
    layers,
    ...fields
  }: { config: Content; layers: readonly Content[]; [field: string]: unknown },
  algorithm: Algorithm = 'sha256',
): Content {
  const blobs = { config: descriptor(config), layers: layers.map((layer) => descriptor(layer)) }
  return manifest(types.image, { ...blobs, ...fields }, algorithm)
}

/** An OCI image index of these manifests. */
export function index(
  children: readonly Content[],
  fields: Readonly<Record<string, unknown>> = {},
  algorithm: Algorithm = 'sha256',
): Content {
  const manifests = children.map((child) => descriptor(child))
  return manifest(types.index, { manifests, ...fields }, algorithm)
}

export function descriptor(
  { bytes, digest, mediaType }: Content,
  fields: Readonly<Record<string, unknown>> = {},
): Descriptor {
  return { mediaType, digest, size: bytes.length, ...fields }
}

/** The empty JSON object, which artifacts have for a config; OCI image-spec "Guidance for an Empty Descriptor". */
export const emptyJson: Content = blob('{}', { mediaType: types.empty })

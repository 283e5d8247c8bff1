import { randomBytes } from 'node:crypto'
import type { Api } from './api.ts'

const OCI = 'application/vnd.oci.image'
/** Media type of an image manifest. */
export const MANIFEST = `${OCI}.manifest.v1+json`
const INDEX = `${OCI}.index.v1+json`

/** Digests of manifests. */
export type Rarities = {
  readonly sha512: string
  readonly artifact: string
  readonly untyped: string
}

/** An image manifest of these blobs, as JSON. */
function manifestOf(
  config: string,
  layer: string,
  rest: Readonly<Record<string, unknown>> = {},
): string {
  return JSON.stringify({
    schemaVersion: 2,
    mediaType: MANIFEST,
    config: { mediaType: `${OCI}.config.v1+json`, digest: config, size: 2 },
    layers: [{ mediaType: `${OCI}.layer.v1.tar`, digest: layer, size: 1000 }],
    ...rest,
  })
}

/**
 * Pushes to `rare` what container tools do not: a manifest and blobs of sha512, an artifact with a
 * subject and without a tag, an index of these, and a manifest that does not say what it is.
 */
export async function pushRarities(api: Api): Promise<Rarities> {
  const config = await api.pushBlob('rare', '{}', 'sha512')
  const layer = await api.pushBlob('rare', randomBytes(1000), 'sha512')
  const content = manifestOf(config, layer)
  const sha512 = await api.pushManifest('rare', {
    mediaType: MANIFEST,
    content,
    algorithm: 'sha512',
  })
  await api.pushManifest('rare', { mediaType: MANIFEST, content, tag: 'short' })
  const artifact = await api.pushManifest('rare', {
    mediaType: MANIFEST,
    content: manifestOf(config, layer, {
      artifactType: 'application/vnd.example.signature',
      subject: { mediaType: MANIFEST, digest: sha512, size: content.length },
    }),
  })
  await api.pushManifest('rare', {
    mediaType: INDEX,
    content: JSON.stringify({
      schemaVersion: 2,
      mediaType: INDEX,
      manifests: [{ mediaType: MANIFEST, digest: sha512, size: content.length }],
    }),
    tag: 'index',
  })
  const untyped = await api.pushManifest('rare', {
    mediaType: MANIFEST,
    content: manifestOf(config, layer, { mediaType: undefined, annotations: { of: 'no type' } }),
    tag: 'untyped',
  })
  return { sha512, artifact, untyped }
}

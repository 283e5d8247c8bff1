import { blob, type Content, image, types } from '../specification/content.ts'
import { pick, type Random, randomContent } from './random.ts'

/** An image and all that it is made of. */
export type Image = {
  readonly manifest: Content
  /** Config and layers. */
  readonly blobs: readonly Content[]
  /** All of it: the manifest, too. */
  readonly parts: readonly Content[]
}

/** `count` layers that images share. */
export function makeLayers(random: Random, count: number, maxBytes: number): Content[] {
  return Array.from({ length: count }, () => makeLayer(random, maxBytes))
}

/** An image with a config and a layer of its own, and with two of `shared`. */
export function makeImage(
  random: Random,
  { shared, maxBytes }: { readonly shared: readonly Content[]; readonly maxBytes: number },
): Image {
  const config = blob(JSON.stringify({ architecture: 'amd64', os: 'linux', id: random(2 ** 32) }), {
    mediaType: types.config,
  })
  const borrowed = [pick(random, shared), pick(random, shared)]
  const layers = [...new Set([...borrowed, makeLayer(random, maxBytes)])]
  const manifest = image({ config, layers })
  const blobs = [config, ...layers]
  return { manifest, blobs, parts: [manifest, ...blobs] }
}

function makeLayer(random: Random, maxBytes: number): Content {
  const size = 1 + random(random(4) === 0 ? maxBytes : Math.ceil(maxBytes / 16))
  return blob(randomContent(random, size), { mediaType: types.layer })
}

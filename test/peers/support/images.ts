import { createHash, randomBytes } from 'node:crypto'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import { mustRun } from './process.ts'

export type Descriptor = {
  readonly mediaType: string
  readonly digest: string
  readonly size: number
}

export type Images = {
  /** An OCI image layout holding the image `v1` and the index `multi`, which lists two platforms. */
  readonly layout: string
  /** A folder to build from: a Containerfile that copies two files of random bytes onto nothing. */
  readonly context: string
  readonly image: Descriptor
  readonly index: Descriptor
  /** Layers of `v1`, smallest first: random bytes, gzip. */
  readonly layers: readonly Descriptor[]
  /** Digests of the unpacked layers, as image configurations list them. */
  readonly diffIds: readonly string[]
}

type Layer = { readonly descriptor: Descriptor; readonly diffId: string }

const OCI = 'application/vnd.oci.image'
const CREATED = '2020-01-01T00:00:00Z'
/** One layer that fits any buffer, and one that a front with a body limit or a small spool trips over. */
const LAYERS_MIB: readonly number[] = [1, 40]

/** `sha256:…` of the bytes. */
export function digestOf(bytes: Buffer | string): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`
}

async function putBlob(layout: string, mediaType: string, bytes: Buffer): Promise<Descriptor> {
  const digest = digestOf(bytes)
  await writeFile(join(layout, 'blobs', ...digest.split(':')), bytes)
  return { mediaType, digest, size: bytes.length }
}

function putJson(layout: string, mediaType: string, value: object): Promise<Descriptor> {
  return putBlob(layout, mediaType, Buffer.from(JSON.stringify(value)))
}

async function putLayer(layout: string, context: string, file: string): Promise<Layer> {
  const archive = join(layout, `${file}.tar`)
  await mustRun('tar', ['-cf', archive, '-C', context, file])
  const tar = await readFile(archive)
  const packed = await promisify(gzip)(tar, { level: 1 })
  const descriptor = await putBlob(layout, `${OCI}.layer.v1.tar+gzip`, packed)
  return { descriptor, diffId: digestOf(tar) }
}

async function putImage(
  layout: string,
  architecture: string,
  layers: readonly Layer[],
): Promise<Descriptor> {
  const config = await putJson(layout, `${OCI}.config.v1+json`, {
    architecture,
    os: 'linux',
    created: CREATED,
    config: {},
    rootfs: { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) },
    history: layers.map(() => ({ created: CREATED, created_by: 'test' })),
  })
  const mediaType = `${OCI}.manifest.v1+json`
  return putJson(layout, mediaType, {
    schemaVersion: 2,
    mediaType,
    config,
    layers: layers.map(({ descriptor }) => descriptor),
  })
}

async function putIndex(layout: string, small: Layer, amd64: Descriptor): Promise<Descriptor> {
  const arm64 = await putImage(layout, 'arm64', [small])
  const mediaType = `${OCI}.index.v1+json`
  return putJson(layout, mediaType, {
    schemaVersion: 2,
    mediaType,
    manifests: [
      { ...amd64, platform: { architecture: 'amd64', os: 'linux' } },
      { ...arm64, platform: { architecture: 'arm64', os: 'linux' } },
    ],
  })
}

function named(descriptor: Descriptor, name: string): object {
  return { ...descriptor, annotations: { 'org.opencontainers.image.ref.name': name } }
}

/**
 * Makes images of fresh random bytes, since none can be pulled: an OCI layout and a build context.
 * @param layersMiB size of each layer; one small and one big unless given
 */
export async function makeImages(folder: string, layersMiB = LAYERS_MIB): Promise<Images> {
  const layout = join(folder, 'layout')
  const context = join(folder, 'context')
  await mkdir(join(layout, 'blobs', 'sha256'), { recursive: true })
  await mkdir(context)
  const files: string[] = []
  const layers: Layer[] = []
  for (const mebibytes of layersMiB) {
    const file = `random-${mebibytes}`
    await writeFile(join(context, file), randomBytes(mebibytes << 20))
    layers.push(await putLayer(layout, context, file))
    files.push(file)
  }
  await writeFile(
    join(context, 'Containerfile'),
    ['FROM scratch', ...files.map((file) => `COPY ${file} /`)].join('\n'),
  )

  const image = await putImage(layout, 'amd64', layers)
  const [small] = layers
  if (small === undefined) throw new TypeError('an image has at least one layer')
  const index = await putIndex(layout, small, image)
  await writeFile(
    join(layout, 'index.json'),
    JSON.stringify({ schemaVersion: 2, manifests: [named(image, 'v1'), named(index, 'multi')] }),
  )
  await writeFile(join(layout, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }))
  return {
    layout,
    context,
    image,
    index,
    layers: layers.map(({ descriptor }) => descriptor),
    diffIds: layers.map(({ diffId }) => diffId),
  }
}

/** Adds an image `name` to the layout: the layers of `v1`, and a small one of its own on top. */
export async function addVariant(images: Images, name: string): Promise<Descriptor> {
  const { layout, context, diffIds } = images
  await writeFile(join(context, name), randomBytes(64 << 10))
  const shared = images.layers.map((descriptor, i) => ({ descriptor, diffId: diffIds[i] ?? '' }))
  const image = await putImage(layout, 'amd64', [...shared, await putLayer(layout, context, name)])
  const path = join(layout, 'index.json')
  const { manifests, ...rest } = JSON.parse(await readFile(path, 'utf8'))
  await writeFile(path, JSON.stringify({ ...rest, manifests: [...manifests, named(image, name)] }))
  return image
}

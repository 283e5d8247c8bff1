import { setTimeout as delay } from 'node:timers/promises'
import type { Content } from '../specification/content.ts'
import { type Image, makeImage } from './images.ts'
import { pick, type Random } from './random.ts'
import {
  errorCodesOf,
  expectStatus,
  pullImage,
  pushBlob,
  putManifest,
  type RegistryClient,
  UnexpectedAnswer,
} from './registry-client.ts'

/** Images that were acknowledged and not deleted since, by `<repo> <tag>`. */
export type Images = Map<string, Image>

export type Churn = {
  /** Of servers on one folder. Each request goes to any of them. */
  readonly clients: readonly RegistryClient[]
  readonly images: Images
  readonly random: Random
  readonly shared: readonly Content[]
  readonly repo: string
  /** Tags that nobody else sets begin with this. */
  readonly prefix: string
  readonly isOver: () => boolean
}

/** What a collection between the requests of a push may lead to, and a new try cures. */
const curable = new Set([
  'MANIFEST_BLOB_UNKNOWN',
  'BLOB_UPLOAD_UNKNOWN',
  'BLOB_UPLOAD_INVALID',
  'UNAVAILABLE',
])
const maxTries = 200

/** Pushes images, pulls them at once and deletes some, until it is over. Rejects with what is wrong. */
export async function churn(parts: Churn): Promise<{ tries: number }> {
  const { clients, images, random, shared, repo, prefix, isOver } = parts
  const own: string[] = []
  let tries = 0
  for (let index = 0; index < 2 || !isOver(); index += 1) {
    const image = makeImage(random, { shared, maxBytes: 40_000 })
    const reference = `${prefix}-${index}`
    tries += await pushUntilTaken(parts, image, reference)
    images.set(`${repo} ${reference}`, image)
    own.push(reference)
    await pullImage(pick(random, clients), repo, reference)
    if (own.length > 2) {
      const [oldest = ''] = own.splice(random(own.length), 1)
      const gone = images.get(`${repo} ${oldest}`)
      images.delete(`${repo} ${oldest}`)
      await deleteImage(pick(random, clients), repo, gone)
    }
  }
  return { tries }
}

export async function deleteImage(
  client: RegistryClient,
  repo: string,
  image: Image | undefined,
): Promise<void> {
  const path = `/v2/${repo}/manifests/${image?.manifest.digest}`
  expectStatus(await client.request('DELETE', path), 202)
}

async function pushUntilTaken(parts: Churn, image: Image, reference: string): Promise<number> {
  for (let tries = 1; ; tries += 1) {
    try {
      await push(parts, image, reference)
      return tries
    } catch (error) {
      const isCurable =
        error instanceof UnexpectedAnswer && errorCodesOf(error.answer).every((c) => curable.has(c))
      if (!isCurable || tries === maxTries) throw error
    }
    await delay(parts.random(200))
  }
}

/** As clients do: a blob that is said to be there is not sent. */
async function push({ clients, random, repo }: Churn, image: Image, tag: string): Promise<void> {
  for (const content of image.blobs) {
    const path = `/v2/${repo}/blobs/${content.digest}`
    const known = await pick(random, clients).request('HEAD', path)
    if (expectStatus(known, 200, 404).status === 404) {
      await pushBlob(pick(random, clients), repo, content)
    }
  }
  const path = { repo, reference: tag }
  expectStatus(await putManifest(pick(random, clients), path, image.manifest), 201)
}

/** Pulls acknowledged images until it is over. Resolves to those that could not be pulled whole. */
export async function pullAlways({ clients, images, random, isOver }: Churn): Promise<string[]> {
  const broken: string[] = []
  while (!isOver()) {
    const keys = [...images.keys()]
    const key = keys[random(Math.max(1, keys.length))]
    if (key === undefined) await delay(10)
    else broken.push(...(await brokenAmong({ clients, images, random }, [key])))
  }
  return broken
}

/** Which of these acknowledged images cannot be pulled whole; one that is deleted meanwhile may be. */
export async function brokenAmong(
  { clients, images, random }: Pick<Churn, 'clients' | 'images' | 'random'>,
  keys: Iterable<string>,
): Promise<string[]> {
  const broken: string[] = []
  for (const key of keys) {
    const [repo = '', tag = ''] = key.split(' ')
    await pullImage(pick(random, clients), repo, tag).catch((error: unknown) => {
      if (images.has(key)) broken.push(`${key}: ${error}`)
    })
  }
  return broken
}

import { z } from 'zod'
import { type Api, digestBy, requireStatus } from './api.ts'

/** What clients find in one repository. */
export type Holdings = {
  /** Digests by tag. */
  readonly tags: Readonly<Record<string, string>>
  /** Media types by digest, of everything that tags lead to. */
  readonly manifests: Readonly<Record<string, string>>
  /** Layers and configurations of these. */
  readonly blobs: readonly string[]
}

/** What clients find in a registry, by repository. Equal inventories are equal byte for byte. */
export type Inventory = Readonly<Record<string, Holdings>>

const descriptors = z.array(z.object({ digest: z.string() }))
const manifest = z.object({
  config: z.object({ digest: z.string() }).optional(),
  layers: descriptors.optional(),
  manifests: descriptors.optional(),
})

/**
 * Pulls everything there is, as a client does that knows nothing but the address, and checks every
 * byte against its digest. Repositories without a tag are left out.
 * @throws Error for what cannot be had, or is not what its digest says
 */
export async function takeInventory(api: Api): Promise<Inventory> {
  const inventory: Record<string, Holdings> = {}
  for (const repository of await listRepositories(api)) {
    const tags = await listTags(api, repository)
    if (tags.length > 0) inventory[repository] = await takeHoldings(api, repository, tags)
  }
  return inventory
}

/** The catalog, sorted. */
export async function listRepositories(api: Api): Promise<string[]> {
  const listed = await api.send('GET', '/v2/_catalog?n=100')
  requireStatus(listed, 200)
  return z
    .object({ repositories: z.array(z.string()) })
    .parse(JSON.parse(listed.content.toString()))
    .repositories.sort()
}

/** The tags of a repository, sorted. */
export async function listTags(api: Api, repository: string): Promise<string[]> {
  const listed = await api.send('GET', `/v2/${repository}/tags/list`)
  requireStatus(listed, 200)
  const { tags } = z
    .object({ tags: z.array(z.string()).nullable() })
    .parse(JSON.parse(listed.content.toString()))
  return (tags ?? []).sort()
}

async function takeHoldings(
  api: Api,
  repository: string,
  tags: readonly string[],
): Promise<Holdings> {
  const manifests: Record<string, string> = {}
  const blobs = new Set<string>()
  const take = async (reference: string): Promise<string> => {
    const found = await pullManifest(api, repository, reference)
    if (manifests[found.digest] !== undefined) return found.digest
    manifests[found.digest] = found.mediaType
    const { config, layers = [], manifests: children = [] } = found.document
    for (const { digest } of [...(config === undefined ? [] : [config]), ...layers]) {
      if (!blobs.has(digest)) await checkBlob(api, repository, digest)
      blobs.add(digest)
    }
    for (const { digest } of children) await take(digest)
    return found.digest
  }
  const digests: Record<string, string> = {}
  for (const tag of tags) digests[tag] = await take(tag)
  return { tags: digests, manifests, blobs: [...blobs].sort() }
}

/** A manifest by tag or digest, checked. */
export async function pullManifest(api: Api, repository: string, reference: string) {
  const reply = await api.send('GET', `/v2/${repository}/manifests/${reference}`)
  requireStatus(reply, 200)
  const said = reply.headers['docker-content-digest']
  const digest = reference.includes(':') ? reference : String(said)
  const actual = digestBy(digest.startsWith('sha512:') ? 'sha512' : 'sha256', reply.content)
  if (digest !== actual || said !== actual) {
    throw new Error(`${repository}:${reference} is ${actual}, called ${said}`)
  }
  const document = manifest.parse(JSON.parse(reply.content.toString()))
  return { digest, mediaType: String(reply.headers['content-type']), document }
}

/** @throws Error unless the repository has that blob, with the right bytes */
export async function checkBlob(api: Api, repository: string, digest: string): Promise<void> {
  const reply = await api.send('GET', `/v2/${repository}/blobs/${digest}`)
  requireStatus(reply, 200)
  const actual = digestBy(digest.startsWith('sha512:') ? 'sha512' : 'sha256', reply.content)
  if (digest !== actual) throw new Error(`${repository}@${digest} is ${actual}`)
}

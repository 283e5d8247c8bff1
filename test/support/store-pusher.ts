import type { Content } from '../specification/content.ts'
import { type Image, makeImage } from './images.ts'
import { pick, type Random } from './random.ts'
import {
  expectStatus,
  finish,
  locationOf,
  patch,
  putManifest,
  type RegistryClient,
} from './registry-client.ts'
import { type Ledger, tagState } from './store-ledger.ts'

export type Pusher = {
  readonly client: RegistryClient
  readonly ledger: Ledger
  readonly random: Random
  /** Repositories that it pushes to. */
  readonly repos: readonly string[]
  /** Tags that nobody else sets. */
  readonly tags: readonly string[]
  readonly shared: readonly Content[]
}

/**
 * Pushes, overwrites and deletes until a request gets no answer, and keeps the ledger: what is asked is
 * noted before, and what is promised after. Rejects with whatever went wrong.
 */
export async function pushForever(pusher: Pusher): Promise<never> {
  const { random, repos, shared } = pusher
  for (;;) {
    const repo = pick(random, repos)
    await pushImage(pusher, repo, makeImage(random, { shared, maxBytes: 200_000 }))
    if (random(6) === 0) await deleteTag(pusher, repo)
  }
}

async function pushImage(pusher: Pusher, repo: string, { manifest, blobs }: Image): Promise<void> {
  const { client, ledger, random, tags } = pusher
  for (const content of blobs) {
    await pushContent(pusher, repo, content)
    ledger.blobs.set(`${repo} ${content.digest}`, content)
  }
  const tag = pick(random, tags)
  const state = tagState(ledger, `${repo} ${tag}`)
  state.asked.push(manifest.digest)
  expectStatus(await putManifest(client, { repo, reference: tag }, manifest), 201)
  state.acknowledged = manifest.digest
  state.asked.length = 0
  ledger.manifests.set(`${repo} ${manifest.digest}`, manifest)
}

async function deleteTag({ client, ledger, random, tags }: Pusher, repo: string): Promise<void> {
  const tag = pick(random, tags)
  const state = tagState(ledger, `${repo} ${tag}`)
  state.asked.push(undefined)
  expectStatus(await client.request('DELETE', `/v2/${repo}/manifests/${tag}`), 202, 404)
  state.acknowledged = undefined
  state.asked.length = 0
}

/** Makes sure that the repository has a blob, in one of the ways that clients know. */
async function pushContent(pusher: Pusher, repo: string, content: Content): Promise<void> {
  const { client, random, repos } = pusher
  const { bytes, digest } = content
  const way = random(5)
  if (way === 0) {
    const known = await client.request('HEAD', `/v2/${repo}/blobs/${digest}`)
    if (expectStatus(known, 200, 404).status === 200) return
  }
  if (way === 1) {
    const headers = { 'Content-Type': 'application/octet-stream' }
    const path = `/v2/${repo}/blobs/uploads/?digest=${digest}`
    expectStatus(await client.request('POST', path, { headers, body: bytes }), 201)
    return
  }
  const mount = way === 2 ? `?mount=${digest}&from=${pick(random, repos)}` : ''
  const begun = await client.request('POST', `/v2/${repo}/blobs/uploads/${mount}`)
  if (expectStatus(begun, 201, 202).status === 201) return
  await send(pusher, { repo, content, location: locationOf(begun) })
}

type Sending = { readonly repo: string; readonly content: Content; readonly location: string }

/** Sends what an upload session is for: whole, or in chunks, the last of them with the end or not. */
async function send(
  { client, ledger, random }: Pusher,
  { repo, content, location }: Sending,
): Promise<void> {
  const session = { repo, content, acknowledged: 0, isFinishing: false }
  ledger.sessions.set(location, session)
  const { bytes, digest } = content
  const chunks = random(4)
  for (let left = chunks; left > 0; left -= 1) {
    const first = session.acknowledged
    const last = left === 1 && random(2) === 0 ? bytes.length : first + 2 + random(bytes.length)
    const body = bytes.subarray(first, last)
    if (body.length < 2 || (first === 0 && last < 2)) continue
    expectStatus(await patch(client, location, { body, first }), 202)
    session.acknowledged = first + body.length
  }
  session.isFinishing = true
  const body = bytes.subarray(session.acknowledged)
  expectStatus(await finish(client, location, { digest, body }), 201)
  ledger.sessions.delete(location)
}

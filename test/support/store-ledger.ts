import type { Content } from '../specification/content.ts'
import {
  errorCodesOf,
  expectStatus,
  finish,
  patch,
  pullContent,
  type RegistryClient,
} from './registry-client.ts'

/** What a tag was last acknowledged to mean, and what requests without an answer may have made of it. */
type TagState = { acknowledged: string | undefined; readonly asked: (string | undefined)[] }

type Session = {
  readonly repo: string
  readonly content: Content
  /** Bytes that the registry said it has. */
  acknowledged: number
  /** A closing PUT was sent and not answered: the session may be a blob by now. */
  isFinishing: boolean
}

/** What clients of a registry were promised. A key is `<repo> <digest>` or `<repo> <tag>`. */
export type Ledger = {
  readonly blobs: Map<string, Content>
  readonly manifests: Map<string, Content>
  readonly tags: Map<string, TagState>
  /** By Location. */
  readonly sessions: Map<string, Session>
}

export function createLedger(): Ledger {
  return { blobs: new Map(), manifests: new Map(), tags: new Map(), sessions: new Map() }
}

/** The tag's entry, made if need be. */
export function tagState({ tags }: Ledger, key: string): TagState {
  const state = tags.get(key) ?? { acknowledged: undefined, asked: [] }
  tags.set(key, state)
  return state
}

/** Finds what of a ledger's promises a registry does not keep. Settles which way open requests went. */
export async function brokenPromises(client: RegistryClient, ledger: Ledger): Promise<string[]> {
  const broken: string[] = []
  const check = async (what: string, look: () => Promise<unknown>): Promise<void> => {
    await look().catch((error: unknown) => void broken.push(`${what}: ${error}`))
  }
  for (const kind of ['blobs', 'manifests'] as const) {
    for (const key of ledger[kind].keys()) {
      const [repo = '', reference = ''] = key.split(' ')
      await check(`${kind} ${key}`, () => pullContent(client, repo, { kind, reference }))
    }
  }
  for (const [key, state] of ledger.tags) {
    await check(`tag ${key}`, () => settleTag(client, key, state))
  }
  for (const [location, session] of ledger.sessions) {
    await check(`upload ${location}`, () => resume(client, location, session))
  }
  ledger.sessions.clear()
  return broken
}

async function settleTag(client: RegistryClient, key: string, state: TagState): Promise<void> {
  const [repo, tag] = key.split(' ')
  const answer = await client.request('HEAD', `/v2/${repo}/manifests/${tag}`)
  const found = expectStatus(answer, 200, 404).headers['docker-content-digest'] as
    | string
    | undefined
  const allowed = [state.acknowledged, ...state.asked]
  if (!allowed.includes(found)) throw new Error(`${found} instead of ${allowed.join(' or ')}`)
  state.acknowledged = found
  state.asked.length = 0
}

/** Goes on with an upload from what the registry says that it has, to the end. */
async function resume(client: RegistryClient, location: string, session: Session): Promise<void> {
  const { repo, content, acknowledged, isFinishing } = session
  const status = expectStatus(await client.request('GET', location), 204, 404)
  if (status.status === 404) {
    if (!isFinishing) throw new Error(`forgotten: ${errorCodesOf(status)}`)
    return
  }
  const offset = offsetIn(status.headers.range)
  if (offset < acknowledged && !isFinishing) {
    throw new Error(`${offset} bytes of ${acknowledged} that were acknowledged`)
  }
  if (offset > content.bytes.length) throw new Error(`${offset} bytes of ${content.bytes.length}`)
  const rest = content.bytes.subarray(offset)
  if (rest.length > 0)
    expectStatus(await patch(client, location, { body: rest, first: offset }), 202)
  expectStatus(await finish(client, location, content), 201)
  await pullContent(client, repo, { kind: 'blobs', reference: content.digest })
}

/** Number of bytes that `Range: 0-<last>` speaks of. One byte and none look alike: none. */
export function offsetIn(range: string | undefined): number {
  const last = Number(/^0-(\d+)$/.exec(range ?? '')?.[1])
  if (Number.isNaN(last)) throw new Error(`not the range of an upload: ${range}`)
  return last === 0 ? 0 : last + 1
}

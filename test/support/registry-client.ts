import { once } from 'node:events'
import { Agent, type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http'
import { type Content, digestOf } from '../specification/content.ts'

export type Answer = {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

export type Sending = {
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Buffer | string
}

/** A client of one registry over plain HTTP. It follows no redirect and repeats nothing. */
export type RegistryClient = Disposable & {
  /** Sends `path`, which may be a whole URL. Rejects when no answer comes. */
  request(method: string, path: string, sending?: Sending): Promise<Answer>
}

/** An answer with a status that was not hoped for. */
export class UnexpectedAnswer extends Error {
  readonly answer: Answer

  constructor(answer: Answer, wanted: string) {
    super(`${answer.status} instead of ${wanted}: ${answer.body.subarray(0, 500)}`)
    this.answer = answer
  }
}

export function createRegistryClient(origin: string): RegistryClient {
  const agent = new Agent({ keepAlive: true })
  return {
    async request(method, path, { headers = {}, body } = {}) {
      const length = body === undefined ? {} : { 'Content-Length': Buffer.byteLength(body) }
      const url = new URL(path, origin)
      const req = request(url, { agent, method, headers: { ...length, ...headers } })
      const answered = once(req, 'response') as Promise<[IncomingMessage]>
      req.end(body)
      const [res] = await answered
      // Who refuses a body need not read it to its end; what breaks after the answer is no failure.
      req.on('error', () => {})
      const received = Buffer.concat(await res.toArray())
      return { status: res.statusCode ?? 0, headers: res.headers, body: received }
    },
    [Symbol.dispose]: () => agent.destroy(),
  }
}

/** The answer, if it has one of these statuses. */
export function expectStatus(answer: Answer, ...statuses: readonly number[]): Answer {
  if (statuses.includes(answer.status)) return answer
  throw new UnexpectedAnswer(answer, statuses.join(' or '))
}

/** Codes of a registry error; throws for a body that is none. */
export function errorCodesOf({ body }: Answer): string[] {
  const { errors } = JSON.parse(body.toString()) as { errors: { code: string; message: string }[] }
  return errors.map(({ code, message }) => {
    if (typeof message !== 'string') throw new Error(`no message: ${body}`)
    return code
  })
}

/** Begins an upload session. Resolves to its Location. */
export async function startUpload(client: RegistryClient, repo: string): Promise<string> {
  const answer = await client.request('POST', `/v2/${repo}/blobs/uploads/`)
  return locationOf(expectStatus(answer, 202))
}

/** Path and query of an answer's Location: the same session on any server of the same folder. */
export function locationOf({ headers }: Answer): string {
  if (headers.location === undefined) throw new Error('the answer has no Location')
  const { pathname, search } = new URL(headers.location, 'http://any')
  return pathname + search
}

/** `location` with a further query parameter. */
export function withDigest(location: string, digest: string): string {
  return `${location}${location.includes('?') ? '&' : '?'}digest=${digest}`
}

/** Appends to an upload session; `first` is the position that the client claims, if it does. */
export function patch(
  client: RegistryClient,
  location: string,
  { body, first }: { readonly body: Buffer; readonly first?: number },
): Promise<Answer> {
  const range =
    first === undefined ? {} : { 'Content-Range': `${first}-${first + body.length - 1}` }
  const headers = { 'Content-Type': 'application/octet-stream', ...range }
  return client.request('PATCH', location, { headers, body })
}

/** Ends an upload session, with a last chunk if there is one. */
export function finish(
  client: RegistryClient,
  location: string,
  { digest, body = Buffer.alloc(0) }: { readonly digest: string; readonly body?: Buffer },
): Promise<Answer> {
  const headers = { 'Content-Type': 'application/octet-stream' }
  return client.request('PUT', withDigest(location, digest), { headers, body })
}

/** Pushes a blob with POST and PUT. */
export async function pushBlob(
  client: RegistryClient,
  repo: string,
  { digest, bytes }: Content,
): Promise<void> {
  const location = await startUpload(client, repo)
  expectStatus(await finish(client, location, { digest, body: bytes }), 201)
}

export function putManifest(
  client: RegistryClient,
  path: { readonly repo: string; readonly reference: string },
  { bytes, mediaType }: Content,
): Promise<Answer> {
  return client.request('PUT', `/v2/${path.repo}/manifests/${path.reference}`, {
    headers: { 'Content-Type': mediaType },
    body: bytes,
  })
}

/** The bytes of a blob or a manifest, whose digest is checked when `reference` is one. */
export async function pullContent(
  client: RegistryClient,
  repo: string,
  { kind, reference }: { readonly kind: 'blobs' | 'manifests'; readonly reference: string },
): Promise<Buffer> {
  const answer = await client.request('GET', `/v2/${repo}/${kind}/${reference}`)
  const { body, headers } = expectStatus(answer, 200)
  const wanted = reference.includes(':') ? reference : String(headers['docker-content-digest'])
  if (digestOf(body, wanted.startsWith('sha512:') ? 'sha512' : 'sha256') !== wanted) {
    throw new Error(`${repo} ${reference}: ${body.length} bytes are not ${wanted}`)
  }
  return body
}

/** Pulls an image and everything that belongs to it. Throws unless it is whole and right. */
export async function pullImage(
  client: RegistryClient,
  repo: string,
  reference: string,
): Promise<Buffer> {
  const bytes = await pullContent(client, repo, { kind: 'manifests', reference })
  const { config, layers } = JSON.parse(bytes.toString()) as {
    config: { digest: string }
    layers: { digest: string }[]
  }
  for (const { digest } of [config, ...layers]) {
    await pullContent(client, repo, { kind: 'blobs', reference: digest })
  }
  return bytes
}

import { once } from 'node:events'
import { mkdtempDisposable, writeFile } from 'node:fs/promises'
import type { IncomingMessage } from 'node:http'
import { Agent, request as startRequest } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { hashPassword } from '../../src/auth/password-hash.ts'
import { type Embedded, startEmbedded } from '../support/embedded.ts'
import { type Content, type Descriptor, emptyJson, image } from './content.ts'

export type Answer = {
  readonly status: number
  /** Value of a header field; several of one name are joined as a list. */
  readonly header: (name: string) => string | undefined
  readonly body: Buffer
}

export type RequestOptions = {
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Buffer | string
  /** Sent one by one with chunked coding, which tells no length beforehand. In place of `body`. */
  readonly pieces?: readonly (Buffer | string)[]
}

/** A client of one registry; it follows no redirect and repeats nothing. */
export type Registry = AsyncDisposable & {
  /** Scheme, host and port by which it is spoken to. */
  readonly origin: string
  /** Sends `path`, query included, byte for byte as it is. */
  request(method: string, path: string, options?: RequestOptions): Promise<Answer>
}

/** The registry of a test file: it starts before the first test and stops after the last. */
export function registryOfFile(overrides: Readonly<Record<string, unknown>> = {}): Registry {
  let started: Registry | undefined
  const registry = (): Registry => {
    if (started === undefined) throw new Error('the registry has not started')
    return started
  }
  test.before(async () => {
    started = await openRegistry(overrides)
  })
  test.after.always(async () => await started?.[Symbol.asyncDispose]())
  return {
    get origin() {
      return registry().origin
    },
    request: (...args) => registry().request(...args),
    [Symbol.asyncDispose]: () => registry()[Symbol.asyncDispose](),
  }
}

/** A registry on a folder of its own, for a test that wants another configuration. */
export async function openRegistry(
  overrides: Readonly<Record<string, unknown>> = {},
): Promise<Registry> {
  const server = await startEmbedded({ ...overrides })
  const agent = new Agent({ keepAlive: true, ca: server.ca })
  return {
    origin: server.url.origin,
    request: (method, path, options = {}) =>
      exchange({ server, agent }, { method, path, ...options }),
    async [Symbol.asyncDispose]() {
      agent.destroy()
      await server.stop()
    },
  }
}

/** One that lets nobody in but `user` with `password`; a login takes it as long as bcrypt of this cost. */
export async function openLockedRegistry(cost: number): Promise<Registry> {
  await using opened = new AsyncDisposableStack()
  const folder = opened.use(await mkdtempDisposable(join(tmpdir(), 'tidegate-')))
  const path = join(folder.path, 'htpasswd')
  await writeFile(path, `user:${hashPassword('password', cost)}\n`)
  const locked = opened.use(await openRegistry({ 'auth.htpasswd.path': path }))
  const owned = opened.move()
  return { ...locked, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

async function exchange(
  { server, agent }: { server: Embedded; agent: Agent },
  {
    method,
    path,
    headers = {},
    body,
    pieces,
  }: RequestOptions & { readonly method: string; readonly path: string },
): Promise<Answer> {
  const { hostname, port } = server.url
  const length = body === undefined ? {} : { 'Content-Length': String(Buffer.byteLength(body)) }
  const req = startRequest({
    ...{ agent, hostname, port, method, path },
    headers: { ...length, ...headers },
  })
  const answered = once(req, 'response') as Promise<[IncomingMessage]>
  for (const piece of pieces ?? []) req.write(piece)
  req.end(body)
  const [res] = await answered
  // Who refuses a request need not read it to its end; what breaks after the answer is no failure.
  req.on('error', () => {})
  const received = await res.toArray()
  return {
    status: res.statusCode ?? 0,
    header: (name) => res.headersDistinct[name.toLowerCase()]?.join(', '),
    body: Buffer.concat(received),
  }
}

/** The path of a Location with further query parameters. It must lead to this registry. */
export function target(
  registry: Registry,
  location: string | undefined,
  query: Readonly<Record<string, string>> = {},
): string {
  if (location === undefined) throw new Error('the answer has no Location')
  const url = new URL(location, registry.origin)
  if (url.origin !== registry.origin) throw new Error(`${location} is not on ${registry.origin}`)
  for (const [name, value] of Object.entries(query)) url.searchParams.append(name, value)
  return url.pathname + url.search
}

/** Begins an upload session. Resolves to the path of its Location. */
export async function startUpload(registry: Registry, repo: string, query = ''): Promise<string> {
  const answer = await registry.request('POST', `/v2/${repo}/blobs/uploads/${query}`)
  return target(registry, expect(answer, 202).header('location'))
}

/** Sends a chunk that says which bytes it is: from `first` on. */
export function patch(
  registry: Registry,
  location: string,
  { first, body }: { readonly first: number; readonly body: Buffer | string },
): Promise<Answer> {
  const last = first + Buffer.byteLength(body) - 1
  const headers = {
    'Content-Type': 'application/octet-stream',
    'Content-Range': `${first}-${last}`,
  }
  return registry.request('PATCH', location, { headers, body })
}

/** Pushes blobs, each in a session of its own, and fails unless all are taken. */
export async function pushBlobs(
  registry: Registry,
  repo: string,
  blobs: readonly Content[],
): Promise<void> {
  for (const { digest, bytes } of blobs) {
    const location = await startUpload(registry, repo)
    const headers = { 'Content-Type': 'application/octet-stream' }
    const path = target(registry, location, { digest })
    expect(await registry.request('PUT', path, { headers, body: bytes }), 201)
  }
}

/** Sends a manifest, by its digest if no reference is given. */
export function putManifest(
  registry: Registry,
  repo: string,
  { bytes, digest, mediaType, reference = digest }: Content & { readonly reference?: string },
): Promise<Answer> {
  const headers = { 'Content-Type': mediaType }
  return registry.request('PUT', `/v2/${repo}/manifests/${reference}`, { headers, body: bytes })
}

/** Pushes a small artifact of these fields, its blobs included, and fails unless it is taken. */
export async function pushArtifact(
  registry: Registry,
  repo: string,
  {
    reference,
    ...fields
  }: Readonly<Record<string, unknown>> & { readonly reference?: string } = {},
): Promise<Content> {
  await pushBlobs(registry, repo, [emptyJson])
  const annotations = { 'org.example.unique': String(Math.random()) }
  const made = image({ config: emptyJson, layers: [emptyJson], annotations, ...fields })
  const named = reference === undefined ? made : { ...made, reference }
  expect(await putManifest(registry, repo, named), 201)
  return made
}

/** The answer, if it has one of these statuses. For what a test takes for granted. */
export function expect(answer: Answer, ...statuses: readonly number[]): Answer {
  if (statuses.includes(answer.status)) return answer
  throw new Error(`${answer.status} instead of ${statuses}: ${answer.body.subarray(0, 500)}`)
}

/** Codes of an error body; OCI distribution-spec "Error Codes". */
export function errorCodes({ body }: Answer): string[] {
  const { errors } = JSON.parse(body.toString()) as { errors: { code: string }[] }
  return errors.map(({ code }) => code)
}

export function tagsOf({ body }: Answer): string[] {
  return (JSON.parse(body.toString()) as { tags: string[] }).tags
}

export function manifestsOf({ body }: Answer): Descriptor[] {
  return (JSON.parse(body.toString()) as { manifests: Descriptor[] }).manifests
}

/** The members of a header that is a list, in ASCII order. */
export function membersOf(answer: Answer, name: string): string[] {
  const value = answer.header(name) ?? ''
  return value === '' ? [] : value.split(/\s*,\s*/).toSorted()
}

/** Path of the `rel="next"` page of RFC 8288, if there is one. */
export function nextPage(registry: Registry, answer: Answer): string | undefined {
  const link = answer.header('link')
  if (link === undefined) return undefined
  const [, uri] = /^<([^<>]+)>\s*;\s*rel="?next"?$/.exec(link) ?? []
  if (uri === undefined) throw new Error(`not a Link to a next page: ${link}`)
  return target(registry, uri)
}

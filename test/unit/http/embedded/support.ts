import { createHash, randomUUID } from 'node:crypto'
import { createEmbeddedBackend } from '../../../../src/http/embedded/backend.ts'
import type { EmbeddedOptions } from '../../../../src/http/embedded/endpoint.ts'
import { type Digest, parseDigest } from '../../../../src/lib/digest.ts'
import { type ErrorCode, RegistryError } from '../../../../src/lib/errors.ts'
import { isUploadId, type RepoName, type Tag } from '../../../../src/lib/names.ts'
import type { Manifest, ManifestPush } from '../../../../src/registry/manifests/manifests.ts'
import type { Listed, Page } from '../../../../src/registry/pages.ts'
import type { ReferrerDescriptor } from '../../../../src/registry/referrers.ts'
import type { Registry } from '../../../../src/registry/registry.ts'
import type { Chunk, UploadStatus } from '../../../../src/registry/uploads/uploads.ts'
import { type RawAnswer, sendRaw, startPipeline } from '../support.ts'

/** The digest of `content`. */
export function digestOf(content: Buffer | string, algorithm = 'sha256'): Digest {
  return parseDigest(`${algorithm}:${createHash(algorithm).update(content).digest('hex')}`)
}

type Session = { name: RepoName; content: Buffer }

/**
 * A registry in memory that keeps the contract of src/registry: what is tested here is how requests
 * become calls, and what comes back answers. Tests may reach in and replace a part.
 */
export class MemoryRegistry implements Registry {
  /** By repository and digest, with a space between; manifests likewise by repository and tag. */
  readonly content = new Map<string, Buffer>()
  readonly revisions = new Map<string, Manifest>()
  readonly current = new Map<string, Digest>()
  readonly sessions = new Map<string, Session>()
  readonly pushes: ManifestPush[] = []
  readonly pages: Page[] = []
  readonly referrersAsked: unknown[] = []
  referring: Listed<ReferrerDescriptor> = { entries: [], more: false }
  subject: Digest | undefined
  /** Readers that were opened and not closed. */
  open = 0
  /** Calls that promise a blob or manifest to a pusher. */
  promises = 0
  isReadonly = false
  /** Bytes that the file of a blob lacks at its end. */
  missingBytes = 0

  addBlob(name: string, content: Buffer): Digest {
    const digest = digestOf(content)
    this.content.set(`${name} ${digest}`, content)
    return digest
  }

  readonly blobs: Registry['blobs'] = {
    stat: async (name, digest) => {
      this.promises += 1
      return { size: this.blob(name, digest).length }
    },
    open: async (name, digest) => {
      const content = this.blob(name, digest)
      const file = content.subarray(0, content.length - this.missingBytes)
      this.open += 1
      return {
        stat: { kind: 'file', size: content.length, modifiedAt: 0, version: undefined },
        read: async (buffer, position) => file.copy(buffer, 0, position),
        [Symbol.asyncDispose]: async () => {
          this.open -= 1
        },
      }
    },
    delete: async (name, digest) => {
      this.blob(name, digest)
      this.content.delete(`${name} ${digest}`)
    },
  }

  readonly uploads: Registry['uploads'] = {
    start: async (name, { algorithm = 'sha256' } = {}) => {
      if (!/^sha(?:256|512)$/.test(algorithm)) throw new RegistryError('DIGEST_INVALID')
      const id = randomUUID()
      if (!isUploadId(id)) throw new Error(id)
      this.sessions.set(id, { name, content: Buffer.alloc(0) })
      return { id, offset: 0 }
    },
    status: async (name, id) => ({ id, offset: this.session(name, id).content.length }),
    append: async (name, id, chunk, accept): Promise<UploadStatus> => {
      const session = this.session(name, id)
      await takeChunk(session, chunk, accept)
      return { id, offset: session.content.length }
    },
    finish: async (name, id, { digest, chunk }, accept) => {
      const session = this.session(name, id)
      if (chunk !== undefined) await takeChunk(session, chunk, accept)
      this.sessions.delete(id)
      if (digestOf(session.content, digest.slice(0, 6)) !== digest)
        throw new RegistryError('DIGEST_MISMATCH', { digest })
      this.content.set(`${name} ${digest}`, session.content)
    },
    cancel: async (name, id) => {
      this.session(name, id)
      this.sessions.delete(id)
    },
    mount: async (name, digest, from) => {
      const suffix = ` ${digest}`
      const names = [...this.content.keys()].filter((key) => key.endsWith(suffix))
      const found = names.find((key) => from === undefined || key === `${from}${suffix}`)
      const content = this.content.get(found ?? '')
      if (content !== undefined) this.content.set(name + suffix, content)
      return content !== undefined
    },
  }

  readonly manifests: Registry['manifests'] = {
    get: async (name, reference) => {
      const digest = this.current.get(`${name} ${reference}`) ?? reference
      const manifest = this.revisions.get(`${name} ${digest}`)
      if (manifest === undefined) throw new RegistryError('MANIFEST_UNKNOWN', { reference })
      return manifest
    },
    promise: async (name, reference) => {
      this.promises += 1
      return await this.manifests.get(name, reference)
    },
    admit: async () => {
      if (this.isReadonly) throw new RegistryError('READ_ONLY')
    },
    put: async (name, push) => {
      this.pushes.push(push)
      const { content, mediaType = 'application/json', tags } = push
      const digest = push.digest ?? digestOf(content)
      this.revisions.set(`${name} ${digest}`, { digest, mediaType, content })
      for (const tag of tags) this.current.set(`${name} ${tag}`, digest)
      return { digest, subject: this.subject }
    },
    delete: async (name, digest) => {
      if (!this.revisions.delete(`${name} ${digest}`)) throw new RegistryError('MANIFEST_UNKNOWN')
    },
  }

  readonly tags: Registry['tags'] = {
    resolve: async (name, tag) => this.current.get(`${name} ${tag}`),
    list: async (name, page) => {
      const prefix = `${name} `
      const keys = [...this.current.keys()].filter((key) => key.startsWith(prefix))
      if (keys.length === 0) throw new RegistryError('NAME_UNKNOWN', { name })
      return this.page(keys.map((key) => key.slice(prefix.length)) as Tag[], page) // they were tags
    },
    set: async (name, tag, digest) => void this.current.set(`${name} ${tag}`, digest),
    replace: async () => {},
    delete: async (name, tag) => {
      if (!this.current.delete(`${name} ${tag}`)) throw new RegistryError('MANIFEST_UNKNOWN')
    },
  }

  readonly catalog: Registry['catalog'] = {
    list: async (page) => {
      const names = [...this.revisions.keys()].map((key) => key.split(' ')[0])
      return this.page([...new Set(names)] as RepoName[], page) // they were names
    },
  }

  readonly referrers: Registry['referrers'] = {
    list: async (_name, _subject, options) => {
      this.referrersAsked.push(options)
      return this.referring
    },
  }

  readonly probe = async (): Promise<void> => {}

  private blob(name: RepoName, digest: Digest): Buffer {
    const content = this.content.get(`${name} ${digest}`)
    if (content === undefined) throw new RegistryError('BLOB_UNKNOWN', { digest })
    return content
  }

  private session(name: RepoName, id: string): Session {
    const session = this.sessions.get(id)
    if (session?.name !== name) throw new RegistryError('BLOB_UPLOAD_UNKNOWN', { id })
    return session
  }

  private page<T extends string>(all: readonly T[], page: Page): Listed<T> {
    this.pages.push(page)
    const { limit = all.length, after = '' } = page
    const left = all.toSorted().filter((entry) => entry > after)
    return { entries: left.slice(0, limit), more: left.length > limit }
  }
}

async function takeChunk(
  session: Session,
  { source, range }: Chunk,
  accept: () => void,
): Promise<void> {
  const offset = session.content.length
  if (range !== undefined && range.first !== offset)
    throw new RegistryError('RANGE_INVALID', { offset })
  accept()
  const buffer = Buffer.alloc(32 * 1024)
  for (;;) {
    const bytes = await source.fill(buffer)
    if (bytes === 0) return
    session.content = Buffer.concat([session.content, buffer.subarray(0, bytes)])
  }
}

/** The embedded backend behind the real pipeline, on a real port. */
export async function startEmbedded(
  registry: Registry,
  options: Partial<EmbeddedOptions> = {},
  parts: { readonly headers?: readonly string[] } = {},
): ReturnType<typeof startPipeline> {
  const backend = createEmbeddedBackend(registry, {
    relative: false,
    idleTimeoutMs: 60_000,
    maxBodyBytes: undefined,
    maxManifestBytes: 4 * 1024 * 1024,
    maxTags: 5,
    maxCatalog: 1000,
    ...options,
  })
  return await startPipeline({ handle: backend.handle, ...parts })
}

/** One request, with a body if there is one, over a connection of its own. */
export async function ask(
  { port }: { readonly port: number },
  line: string,
  { headers = [], body }: { headers?: readonly string[]; body?: string | Buffer } = {},
): Promise<RawAnswer> {
  const content = body === undefined ? undefined : Buffer.from(body)
  const length = content === undefined ? [] : [`Content-Length: ${content.length}`]
  const head = [`${line} HTTP/1.1`, 'Host: registry.example:8443', ...headers, ...length]
  const text = [...head, 'Connection: close', '', content?.toString('latin1') ?? ''].join('\r\n')
  return await sendRaw(port, text)
}

/** The sole value of a header; undefined if it is not there. */
export function headerOf({ headers }: RawAnswer, name: string): string | undefined {
  return headers[name]?.join(' | ')
}

/** The one error of an answer. */
export function errorIn({ body }: RawAnswer): { code: ErrorCode; detail?: unknown } {
  const { errors } = JSON.parse(body)
  if (!Array.isArray(errors) || errors.length !== 1) throw new Error(body)
  return errors[0]
}

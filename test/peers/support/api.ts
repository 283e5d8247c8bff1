import { createHash } from 'node:crypto'
import { type Message, type Reply, send } from './https.ts'

export type Algorithm = 'sha256' | 'sha512'

/** A registry client of few words, for what no container tool can be told to send. */
export type Api = {
  send(method: string, path: string, message?: Pick<Message, 'headers' | 'content'>): Promise<Reply>
  /** Sends a blob whole and returns its digest. */
  pushBlob(repository: string, content: Buffer | string, algorithm?: Algorithm): Promise<string>
  /** Sends a manifest under a tag, or under a digest of its own, and returns its digest. */
  pushManifest(repository: string, manifest: Manifest): Promise<string>
}

export type Manifest = {
  readonly mediaType: string
  readonly content: string
  /** Without one it is pushed by digest alone. */
  readonly tag?: string
  readonly algorithm?: Algorithm
}

export type ApiOptions = {
  readonly url: string
  /** Path of the certificate of the authority, for https. */
  readonly authority?: string
  /** The name that the server's certificate is for, where the URL's is not. */
  readonly servername?: string
  readonly authorization?: string
}

/** Every kind of manifest that registry:2 can store: it knows no wildcards. */
const ACCEPT = [
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
].join(', ')

/** `ALGORITHM:HEX` of the bytes. */
export function digestBy(algorithm: Algorithm, content: Buffer | string): string {
  return `${algorithm}:${createHash(algorithm).update(content).digest('hex')}`
}

/** Talks to the registry at `url`. */
export function createApi({ url, authority, servername, authorization }: ApiOptions): Api {
  const talk: Api['send'] = (method, path, { headers, content = '' } = {}) =>
    send(method, new URL(path, url), {
      authority,
      servername,
      content,
      headers: { accept: ACCEPT, ...(authorization && { authorization }), ...headers },
    })

  return {
    send: talk,
    async pushBlob(repository, content, algorithm = 'sha256') {
      const digest = digestBy(algorithm, content)
      const query = algorithm === 'sha256' ? '' : `?digest-algorithm=${algorithm}`
      const begun = await talk('POST', `/v2/${repository}/blobs/uploads/${query}`)
      requireStatus(begun, 202)
      const target = new URL(begun.headers.location ?? '', url)
      target.searchParams.set('digest', digest)
      const headers = { 'content-type': 'application/octet-stream' }
      requireStatus(await talk('PUT', target.pathname + target.search, { headers, content }), 201)
      return digest
    },
    async pushManifest(repository, { mediaType, content, tag, algorithm = 'sha256' }) {
      const digest = digestBy(algorithm, content)
      const path = `/v2/${repository}/manifests/${tag ?? digest}`
      const headers = { 'content-type': mediaType }
      requireStatus(await talk('PUT', path, { headers, content }), 201)
      return digest
    },
  }
}

/** @throws Error with the body, unless the reply has that status */
export function requireStatus({ status, content }: Reply, expected: number): void {
  if (status !== expected) throw new Error(`${status} instead of ${expected}: ${content}`)
}

/** Deletes a manifest by digest, or a tag. @throws Error when refused */
export async function deleteManifest(
  api: Api,
  repository: string,
  reference: string,
): Promise<void> {
  requireStatus(await api.send('DELETE', `/v2/${repository}/manifests/${reference}`), 202)
}

/** What a GET is answered with. */
export async function statusOf(api: Api, path: string): Promise<number | undefined> {
  return (await api.send('GET', path)).status
}

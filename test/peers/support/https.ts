import { readFile } from 'node:fs/promises'
import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http'
import { request as requestPlainly } from 'node:http'
import { request } from 'node:https'
import { buffer } from 'node:stream/consumers'
import { basic, PASSWORD } from './credentials.ts'

export type Reply = {
  readonly status: number | undefined
  readonly headers: IncomingHttpHeaders
  readonly content: Buffer
}

export type Answer = Omit<Reply, 'content'> & { readonly body: string }

export type Message = {
  readonly headers?: OutgoingHttpHeaders
  readonly content?: Buffer | string
  /** Path of the certificate of the authority to trust, for https. */
  readonly authority?: string | undefined
  /** The name that the server's certificate must be for, where the URL's is not. */
  readonly servername?: string | undefined
}

/** The reply to one request, on a connection of its own. */
export async function send(method: string, url: URL, message: Message = {}): Promise<Reply> {
  const { headers, content = '', authority, servername } = message
  const ca = authority === undefined ? undefined : await readFile(authority)
  const { promise, resolve, reject } = Promise.withResolvers<Reply>()
  const options = { method, agent: false, headers: { ...headers } }
  options.headers['content-length'] = Buffer.byteLength(content)
  const req =
    url.protocol === 'https:'
      ? request(url, { ...options, ca, ...(servername !== undefined && { servername }) })
      : requestPlainly(url, options)
  req.on('error', reject)
  req.on('response', (res) => {
    buffer(res).then(
      (bytes) => resolve({ status: res.statusCode, headers: res.headers, content: bytes }),
      reject,
    )
  })
  req.end(content)
  return promise
}

/** The answer to a bodiless request with the right password, to a server with one of our certificates. */
export async function ask(method: string, url: URL, authority: string): Promise<Answer> {
  const headers = { authorization: basic(PASSWORD) }
  const { content, ...head } = await send(method, url, { authority, headers })
  return { ...head, body: content.toString() }
}

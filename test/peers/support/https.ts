import { readFile } from 'node:fs/promises'
import type { IncomingHttpHeaders } from 'node:http'
import { request } from 'node:https'
import { text } from 'node:stream/consumers'
import { basic, PASSWORD } from './credentials.ts'

export type Answer = {
  readonly status: number | undefined
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

/** The answer to a bodiless request with the right password, to a server with one of our certificates. */
export async function ask(method: string, url: URL, authority: string): Promise<Answer> {
  const ca = await readFile(authority)
  const { promise, resolve, reject } = Promise.withResolvers<Answer>()
  const req = request(url, {
    method,
    ca,
    agent: false,
    headers: { authorization: basic(PASSWORD), 'content-length': 0 },
  })
  req.on('error', reject)
  req.on('response', (res) => {
    text(res).then(
      (body) => resolve({ status: res.statusCode, headers: res.headers, body }),
      reject,
    )
  })
  req.end()
  return promise
}

import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { startHttpBackend } from './backends.ts'
import type { Client } from './several-workers.ts'

/** A backend of which each answer has begun, and ends when it is told to. */
export async function startHeldBackend() {
  const answers: ServerResponse[] = []
  const backend = await startHttpBackend((req, res) => {
    if (req.url === '/v2/') return void res.end('{}')
    res.writeHead(200, { 'content-length': 6 })
    res.write('abc')
    answers.push(res)
  })
  const finish = (): void => {
    for (const answer of answers) answer.end('def')
  }
  return { ...backend, finish }
}

/** A download of which the first half is there. */
export async function beginDownload(client: Client): Promise<IncomingMessage> {
  const req = client.begin({ path: '/v2/a/manifests/latest' })
  req.end()
  const [res] = await once(req, 'response')
  return res
}

/** The configuration of a server in front of it. */
export const forwarding = (url: string): string => `auth: none\nupstream: {url: '${url}'}\n`

import { once } from 'node:events'
import { mkdtempDisposable, writeFile } from 'node:fs/promises'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { serverPair } from './front.ts'
import { type ServerProcess, startServerProcess } from './server-process.ts'

export type FrontProcess = ServerProcess & {
  /** PEM of the authority that signed its certificate. */
  readonly ca: string
}

/** Tidegate as one process of its own, on a free TLS port, in front of `upstream`; for what is measured. */
export async function startFrontProcess(
  upstream: string,
  config: string = '',
  workers: number = 1,
): Promise<FrontProcess> {
  const directory = await mkdtempDisposable(join(tmpdir(), 'tidegate-'))
  const path = (name: string): string => join(directory.path, name)
  await writeFile(path('server.crt'), serverPair.cert)
  await writeFile(path('server.key'), serverPair.key)
  const tls = `{certificate: ${path('server.crt')}, key: ${path('server.key')}}`
  await writeFile(
    path('config.yml'),
    `version: 0.1\nworkers: ${workers}\nhttp: {addr: '127.0.0.1:0', tls: ${tls}}\nupstream: {url: '${upstream}'}\n${config}`,
  )
  const server = await startServerProcess(path('config.yml'))
  return {
    ...server,
    ca: serverPair.ca,
    async [Symbol.asyncDispose]() {
      await server.kill()
      await directory.remove()
    },
  }
}

/** Sends `bytes` of zeros as a chunked upload. Resolves to the status. */
export async function upload(
  { port, ca }: { port: number; ca: string },
  { path, bytes, headers = {} }: { path: string; bytes: number; headers?: Record<string, string> },
): Promise<number> {
  const req = request({ port, ca, host: 'localhost', family: 4, method: 'PATCH', path, headers })
  const piece = Buffer.alloc(1024 * 1024)
  for (let left = bytes; left > 0; left -= piece.length) {
    if (!req.write(piece.subarray(0, Math.min(left, piece.length)))) await once(req, 'drain')
  }
  req.end()
  const [res] = await once(req, 'response')
  res.resume()
  return res.statusCode
}

/** Downloads `path` and discards it. Resolves to the number of bytes. */
export async function download(
  { port, ca }: { port: number; ca: string },
  { path, headers = {} }: { path: string; headers?: Record<string, string> },
): Promise<number> {
  const req = request({ port, ca, host: 'localhost', family: 4, path, headers }).end()
  const [res] = await once(req, 'response')
  let bytes = 0
  res.on('data', (chunk: Buffer) => {
    bytes += chunk.length
  })
  await once(res, 'end')
  return bytes
}

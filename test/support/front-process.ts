import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempDisposable, readdir, readFile, writeFile } from 'node:fs/promises'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { serverPair } from './front.ts'

export type FrontProcess = AsyncDisposable & {
  readonly port: number
  readonly ca: string
  /** Largest resident memory so far, in bytes. */
  peakMemory(): Promise<number>
  /** Resident memory now, in bytes. */
  memory(): Promise<number>
  /** Bytes that it caused to be written to storage so far. */
  writtenToDisk(): Promise<number>
  /** User and system time so far, in seconds. */
  cpuSeconds(): Promise<number>
  /** Files and sockets that it has open now. */
  openFiles(): Promise<number>
  /** Asks it to stop as an operator does. Resolves to its exit code. */
  stop(): Promise<number | null>
}

/** Tidegate as a process of its own, on a free TLS port, in front of `upstream`; for what is measured. */
export async function startFrontProcess(
  upstream: string,
  config: string = '',
): Promise<FrontProcess> {
  const directory = await mkdtempDisposable(join(tmpdir(), 'tidegate-'))
  const path = (name: string): string => join(directory.path, name)
  await writeFile(path('server.crt'), serverPair.cert)
  await writeFile(path('server.key'), serverPair.key)
  const tls = `{certificate: ${path('server.crt')}, key: ${path('server.key')}}`
  await writeFile(
    path('config.yml'),
    `version: 0.1\nhttp: {addr: '127.0.0.1:0', tls: ${tls}}\nupstream: {url: '${upstream}'}\n${config}`,
  )
  const child = spawn(process.execPath, ['src/cli.ts', 'serve', path('config.yml')], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const exited = once(child, 'exit')
  const listening = Promise.withResolvers<number>()
  createInterface({ input: child.stdout }).on('line', (line) => {
    const { msg, url } = JSON.parse(line)
    if (msg === 'listening') listening.resolve(Number(new URL(url).port))
  })
  exited.then(() => listening.reject(new Error('it ended before it listened')))
  const proc = async (name: string): Promise<string> =>
    readFile(`/proc/${child.pid}/${name}`, 'utf8')
  const field = (text: string, name: string): number =>
    Number(new RegExp(`^${name}:\\s+([0-9]+)`, 'm').exec(text)?.[1])

  return {
    port: await listening.promise,
    ca: serverPair.ca,
    peakMemory: async () => field(await proc('status'), 'VmHWM') * 1024,
    memory: async () => field(await proc('status'), 'VmRSS') * 1024,
    writtenToDisk: async () => field(await proc('io'), 'write_bytes'),
    async cpuSeconds() {
      const fields = (await proc('stat')).replace(/^.*\) /s, '').split(' ')
      return (Number(fields[11]) + Number(fields[12])) / 100
    },
    openFiles: async () => (await readdir(`/proc/${child.pid}/fd`)).length,
    async stop() {
      child.kill('SIGTERM')
      const [code] = await exited
      return code
    },
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await exited
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

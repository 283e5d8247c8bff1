import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import type { Sample, Scale } from './case.ts'
import { credentials, type Server, type Workspace } from './workspace.ts'

const execute = promisify(execFile)
const gibibyte = 1024 ** 3

/** `https://127.0.0.1:PORT/path` */
export function urlOf({ port }: Pick<Server, 'port'>, path: string): string {
  return `https://127.0.0.1:${port}${path}`
}

/** Standard output of curl over HTTP/1.1 with the run's certificate. @throws Error with what curl said */
export async function curl(
  { authority, clientEnv }: Workspace,
  args: readonly string[],
): Promise<string> {
  const quiet = ['--silent', '--show-error', '--fail', '--max-time', '300']
  const common = [...quiet, '--http1.1', '--cacert', authority]
  const { stdout } = await execute('curl', [...common, ...args], { env: clientEnv })
  return stdout
}

/** Speed, CPU, memory and disk of a server while `work` sends or receives `bytes` through it. */
export async function measureStream(
  server: Server,
  bytes: number,
  work: () => Promise<unknown>,
): Promise<Sample> {
  // What others have left to be written is not this server's.
  await execute('sync')
  const written = await server.writtenToDisk()
  const cpu = await server.cpuSeconds()
  const start = performance.now()
  await work()
  const seconds = (performance.now() - start) / 1000
  return {
    'MB/s': bytes / 1e6 / seconds,
    'CPU s/GiB': ((await server.cpuSeconds()) - cpu) / (bytes / gibibyte),
    'MB to disk': ((await server.writtenToDisk()) - written) / 1e6,
    'peak MB': (await server.peakMemory()) / 1e6,
  }
}

/** Streams of so many bytes that pass a server before it is measured. */
export function warmUpsOf({ warmUpBytes }: Scale, bytes: number): number {
  return Math.ceil(warmUpBytes / bytes)
}

/** The same for small requests: V8 goes on optimizing for the first 150,000 of a process. */
export const smallWarmUps = 4

type SmallOptions = {
  readonly path: string
  readonly seconds: number
  readonly connections?: number
  readonly hasUser?: boolean
  readonly headers?: readonly string[]
}

/**
 * Requests per second of wrk's GETs on connections, 16 unless told, that are kept.
 * @throws Error unless all are 200
 */
export async function measureGets(
  workspace: Workspace,
  server: Server,
  { path, seconds, connections = 16, hasUser = false, headers = [] }: SmallOptions,
): Promise<Sample> {
  const login = `Authorization: Basic ${Buffer.from(credentials).toString('base64')}`
  const all = [...headers, ...(hasUser ? [login] : [])].flatMap((header) => ['-H', header])
  const args = [
    '-t1',
    `-c${connections}`,
    '--timeout',
    '60s',
    `-d${seconds}s`,
    ...all,
    urlOf(server, path),
  ]
  return await measureRequests(server, async () => {
    const { stdout } = await execute('wrk', args, { env: workspace.clientEnv })
    if (/^ *(Non-2xx|Socket errors)/m.test(stdout)) throw new Error(`${server.name}: ${stdout}`)
    return countIn(stdout, /^ *(\d+) requests in/m)
  })
}

/** As `measureGets`, with HEAD, for whose answers wrk waits in vain; ab does not. */
export async function measureHeads(
  workspace: Workspace,
  server: Server,
  { path, seconds, connections = 16, hasUser = false, headers = [] }: SmallOptions,
): Promise<Sample> {
  const login = hasUser ? ['-A', credentials] : []
  const load = [
    '-q',
    '-k',
    '-i',
    `-c${connections}`,
    '-f',
    'TLS1.3',
    '-t',
    String(seconds),
    '-n',
    '10000000',
  ]
  const all = headers.flatMap((header) => ['-H', header])
  const args = [...load, ...login, ...all, urlOf(server, path)]
  return await measureRequests(server, async () => {
    const { stdout } = await execute('ab', args, { env: workspace.clientEnv })
    if (/^Non-2xx/m.test(stdout)) throw new Error(`${server.name}: ${stdout}`)
    return countIn(stdout, /^Complete requests: *(\d+)/m)
  })
}

function countIn(output: string, pattern: RegExp): number {
  const count = Number(pattern.exec(output)?.[1])
  if (count > 0) return count
  throw new Error(`no number of requests in ${output}`)
}

async function measureRequests(server: Server, work: () => Promise<number>): Promise<Sample> {
  const cpu = await server.cpuSeconds()
  const start = performance.now()
  const requests = await work()
  const seconds = (performance.now() - start) / 1000
  const used = (await server.cpuSeconds()) - cpu
  return {
    'requests/s': requests / seconds,
    'CPU s/10,000': (used / requests) * 10_000,
    // Less than it has: the load generator, or the backend, is what ends the measured speed.
    'cores used': used / seconds,
    'peak MB': (await server.peakMemory()) / 1e6,
  }
}

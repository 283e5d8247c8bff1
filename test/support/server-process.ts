import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir, readFile, readlink } from 'node:fs/promises'
import { createInterface } from 'node:readline'

/** A line of the log. */
export type LogLine = Readonly<Record<string, unknown>>

export type ServerProcess = AsyncDisposable & {
  readonly pid: number
  readonly url: URL
  readonly port: number
  /** Every line that it logged so far. */
  readonly lines: readonly LogLine[]
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
  /** What its open descriptors lead to, e.g. `/tmp/file (deleted)`. */
  openTargets(): Promise<string[]>
  /** Asks it to stop as an operator does. Resolves to its exit code. */
  stop(): Promise<number | null>
  /** Ends it as a crash does. */
  kill(): Promise<void>
}

/**
 * `tidegate serve` once it listens, as a process of its own with as many workers as the file says;
 * `wrapper` is a command line before it.
 */
export async function startServerProcess(
  configFile: string,
  wrapper: readonly string[] = [],
): Promise<ServerProcess> {
  const [command = '', ...args] = [...wrapper, process.execPath, 'src/cli.ts', 'serve', configFile]
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  const exited = once(child, 'exit')
  const lines: LogLine[] = []
  const listening = Promise.withResolvers<URL>()
  createInterface({ input: child.stdout }).on('line', (text) => {
    const line: LogLine = JSON.parse(text)
    lines.push(line)
    if (line['msg'] === 'listening') listening.resolve(new URL(String(line['url'])))
  })
  exited.then(
    () => listening.reject(new Error('it ended before it listened')),
    (error) => listening.reject(error),
  )
  const url = await listening.promise
  const end = async (signal: NodeJS.Signals): Promise<number | null> => {
    child.kill(signal)
    const [code] = await exited
    return code
  }
  const kill = async (): Promise<void> => void (await end('SIGKILL'))
  return {
    pid: Number(child.pid),
    url,
    port: Number(url.port),
    lines,
    ...measuresOf(Number(child.pid)),
    stop: () => end('SIGTERM'),
    kill,
    [Symbol.asyncDispose]: kill,
  }
}

export type Measures = Pick<
  ServerProcess,
  'peakMemory' | 'memory' | 'writtenToDisk' | 'cpuSeconds' | 'openFiles' | 'openTargets'
>

/** What the system tells of a process; proc(5). */
export function measuresOf(pid: number): Measures {
  const proc = async (name: string): Promise<string> => readFile(`/proc/${pid}/${name}`, 'utf8')
  const field = (text: string, name: string): number =>
    Number(new RegExp(`^${name}:\\s+([0-9]+)`, 'm').exec(text)?.[1])
  return {
    peakMemory: async () => field(await proc('status'), 'VmHWM') * 1024,
    memory: async () => field(await proc('status'), 'VmRSS') * 1024,
    writtenToDisk: async () => field(await proc('io'), 'write_bytes'),
    async cpuSeconds() {
      const fields = (await proc('stat')).replace(/^.*\) /s, '').split(' ')
      return (Number(fields[11]) + Number(fields[12])) / 100
    },
    openFiles: async () => (await readdir(`/proc/${pid}/fd`)).length,
    async openTargets() {
      const names = await readdir(`/proc/${pid}/fd`)
      const target = (name: string): Promise<string> =>
        readlink(`/proc/${pid}/fd/${name}`).catch(() => 'closed')
      return await Promise.all(names.map(target))
    },
  }
}

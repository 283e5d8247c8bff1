import { spawn } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { killTree } from '../../support/process-tree.ts'

export type Finished = {
  /** Exit status; null when a signal ended the process. */
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

type RunOptions = {
  readonly env?: NodeJS.ProcessEnv
  /** Written to standard input, which is then closed. */
  readonly input?: string
  readonly cwd?: string
  /** The program is killed after this long. */
  readonly limitMs?: number
}

const COMMAND_LIMIT_MS = 90_000
const STOP_LIMIT_MS = 20_000

/**
 * Starts a program that the kernel ends when this thread ends, so that a test which is interrupted
 * or times out (where no `finally` runs) leaves nothing behind either.
 */
function spawnTethered(command: string, args: readonly string[], options: RunOptions) {
  return spawn('setpriv', ['--pdeathsig', 'TERM', command, ...args], {
    env: options.env ?? process.env,
    cwd: options.cwd,
    stdio: ['pipe', 'pipe', 'pipe'],
  })
}

type Child = ReturnType<typeof spawnTethered>

function collect(stream: NodeJS.ReadableStream): () => string {
  const chunks: Buffer[] = []
  stream.on('data', (chunk: Buffer) => chunks.push(chunk))
  return () => Buffer.concat(chunks).toString()
}

function closed(child: Child): Promise<number | null> {
  const { promise, resolve, reject } = Promise.withResolvers<number | null>()
  child.once('error', reject)
  child.once('close', resolve)
  return promise
}

/** The outcome of a program, whatever its exit status; it is killed after 90 seconds. */
export async function run(
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<Finished> {
  const child = spawnTethered(command, args, options)
  const stdout = collect(child.stdout)
  const stderr = collect(child.stderr)
  const ended = closed(child)
  // A program that does not read its input closes the pipe; that is its own affair.
  child.stdin.on('error', () => {})
  child.stdin.end(options.input ?? '')
  const limit = setTimeout(() => child.kill('SIGKILL'), options.limitMs ?? COMMAND_LIMIT_MS)
  try {
    return { code: await ended, stdout: stdout(), stderr: stderr() }
  } finally {
    clearTimeout(limit)
  }
}

/** Standard output of a program. @throws Error with all it printed, unless it exits with 0 */
export async function mustRun(
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<string> {
  return must(await run(command, args, options), [command, ...args].join(' '))
}

/** Standard output of a finished program. @throws Error with all it printed, unless it exited with 0 */
export function must({ code, stdout, stderr }: Finished, what: string): string {
  if (code !== 0) throw new Error(`${what}: exit ${code}\n${stdout}${stderr}`)
  return stdout
}

export type Daemon = AsyncDisposable & {
  readonly stdout: () => string
  readonly stderr: () => string
  /** The first defined answer of `probe`, asked again until then. @throws Error with the log when the daemon ends or 30 s pass */
  ready<T>(probe: () => T | undefined | Promise<T | undefined>): Promise<T>
  /** Sends SIGTERM and resolves with the exit status, null when it had to be killed. */
  stop(): Promise<number | null>
  /** Sends SIGKILL to it and all that it started, as the end of a container does, and waits for the end. */
  kill(): Promise<void>
}

/** Starts a long-running program; disposing ends it and waits for its end. */
export function startDaemon(
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Daemon {
  const child = spawnTethered(command, args, options)
  const stdout = collect(child.stdout)
  const stderr = collect(child.stderr)
  const ended = closed(child)
  let exited = false
  const settled = ended
    .catch(() => null)
    .finally(() => {
      exited = true
    })

  async function ready<T>(probe: () => T | undefined | Promise<T | undefined>): Promise<T> {
    const deadline = Date.now() + 30_000
    while (!exited && Date.now() < deadline) {
      const answer = await probe()
      if (answer !== undefined) return answer
      await sleep(25)
    }
    const state = exited ? 'ended early' : 'is not ready after 30 s'
    throw new Error(`${command} ${args.join(' ')} ${state}\n${stdout()}${stderr()}`)
  }

  async function stop(): Promise<number | null> {
    child.kill('SIGTERM')
    const limit = setTimeout(() => child.kill('SIGKILL'), STOP_LIMIT_MS)
    const code = await settled
    clearTimeout(limit)
    return code
  }

  async function kill(): Promise<void> {
    if (child.pid !== undefined && !exited) await killTree(child.pid)
    await settled
  }

  return {
    stdout,
    stderr,
    ready,
    stop,
    kill,
    [Symbol.asyncDispose]: async () => void (await stop()),
  }
}

import { mkdtempDisposable, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Certificates } from './certificates.ts'
import { type Daemon, type Finished, run, startDaemon } from './process.ts'

export type TidegateOptions = {
  /** Plain HTTP address of the registry behind it. One of `upstream` and `store` is given. */
  readonly upstream?: string
  /** Folder of the registry that it is itself; deletion is enabled. */
  readonly store?: string
  /** Without them it serves plain HTTP. */
  readonly certificates?: Certificates
  /** Path of the password file. Without one it asks nobody. */
  readonly htpasswd?: string
  /** The address to listen on; 127.0.0.1 unless given. */
  readonly address?: string
  /** The port to listen on; a free one unless given. */
  readonly port?: number
  /** Origins of pages that may use the API. */
  readonly origins?: readonly string[]
}

export type Tidegate = AsyncDisposable & {
  /** The port it got. */
  readonly port: number
  /** Everything it printed so far, for assertions on its log. */
  readonly log: () => string
  /** The records of its access log. */
  readonly accessLog: () => Record<string, unknown>[]
  /** Sends SIGTERM and resolves with the exit status. */
  stop(): Promise<number | null>
  /** Sends SIGKILL and waits for the end. */
  kill(): Promise<void>
  /** Runs another command, given the configuration of this server as its last argument. */
  command(...args: readonly string[]): Promise<Finished>
}

const program = join(import.meta.dirname, '../../../src/cli.ts')

/** Starts `serve` on a registry:2-shaped configuration as a process of its own. */
export async function startTidegate(options: TidegateOptions): Promise<Tidegate> {
  await using stack = new AsyncDisposableStack()
  const folder = stack.use(await mkdtempDisposable(join(tmpdir(), 'tidegate-')))
  const config = join(folder.path, 'config.yml')
  // JSON is YAML.
  await writeFile(config, JSON.stringify(configuration(options)))
  const daemon = stack.use(startProgram('serve', config))
  const url = await daemon.ready(() => listeningUrl(daemon.stdout()))
  const owned = stack.move()
  return {
    port: Number(url.port),
    log: () => daemon.stdout() + daemon.stderr(),
    accessLog: () => accessRecords(daemon.stdout()),
    stop: daemon.stop,
    kill: daemon.kill,
    command: (...args) => runProgram(...args, config),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

/** Runs a command of ours to its end. */
export function runProgram(...args: readonly string[]): Promise<Finished> {
  return run(process.execPath, [program, ...args], { env: bareEnv() })
}

/** Starts a command of ours that goes on until it is stopped. */
export function startProgram(...args: readonly string[]): Daemon {
  return startDaemon(process.execPath, [program, ...args], { env: bareEnv() })
}

function configuration(options: TidegateOptions): object {
  const { upstream, store, certificates, htpasswd, address = '127.0.0.1', port = 0 } = options
  const tls = certificates && { certificate: certificates.certificate, key: certificates.key }
  return {
    version: '0.1',
    workers: process.env['TIDEGATE_TEST_WORKERS'] ?? 1,
    http: { addr: `${address}:${port}`, ...(tls && { tls }) },
    ...(htpasswd !== undefined && { auth: { htpasswd: { realm: 'Test', path: htpasswd } } }),
    ...(upstream !== undefined && { upstream: { url: upstream } }),
    ...(store !== undefined && {
      storage: { filesystem: { rootdirectory: store }, delete: { enabled: true } },
    }),
    ...(options.origins && { cors: { origins: options.origins, credentials: true } }),
  }
}

/** Nothing else of the caller's variables, since `REGISTRY_*` ones would override the file. */
function bareEnv(): NodeJS.ProcessEnv {
  const { PATH, NODE_V8_COVERAGE } = process.env
  return { PATH, NODE_V8_COVERAGE }
}

function listeningUrl(log: string): URL | undefined {
  const line = log.split('\n').find((candidate) => candidate.includes('"msg":"listening"'))
  // The last line may be cut off in the middle; it is asked for again.
  const value = /"url":"([^"]+)"/.exec(line ?? '')?.[1]
  return value === undefined ? undefined : new URL(value)
}

function accessRecords(log: string): Record<string, unknown>[] {
  const complete = log.slice(0, log.lastIndexOf('\n') + 1).split('\n')
  return complete.filter((line) => line.includes('"msg":"request"')).map((line) => JSON.parse(line))
}

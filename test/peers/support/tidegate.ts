import { mkdtempDisposable, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Certificates } from './certificates.ts'
import { startDaemon } from './process.ts'

export type TidegateOptions = {
  /** Plain HTTP address of the registry behind it. */
  readonly upstream: string
  readonly certificates: Certificates
  /** Path of the password file. */
  readonly htpasswd: string
  /** The address to listen on; 127.0.0.1 unless given. Its port is always a free one. */
  readonly address?: string
  /** Origins of pages that may use the API. */
  readonly origins?: readonly string[]
}

export type Tidegate = AsyncDisposable & {
  /** The port it got. */
  readonly port: number
  /** Everything it printed so far, for assertions on its log. */
  readonly log: () => string
  /** Sends SIGTERM and resolves with the exit status. */
  stop(): Promise<number | null>
}

const program = join(import.meta.dirname, '../../../src/cli.ts')

/** Starts `serve` on a registry:2-shaped configuration as a process of its own, on a free port. */
export async function startTidegate(options: TidegateOptions): Promise<Tidegate> {
  await using stack = new AsyncDisposableStack()
  const folder = stack.use(await mkdtempDisposable(join(tmpdir(), 'tidegate-')))
  const config = join(folder.path, 'config.yml')
  const { certificate, key } = options.certificates
  // JSON is YAML.
  await writeFile(
    config,
    JSON.stringify({
      version: '0.1',
      http: { addr: `${options.address ?? '127.0.0.1'}:0`, tls: { certificate, key } },
      auth: { htpasswd: { realm: 'Test', path: options.htpasswd } },
      upstream: { url: options.upstream },
      ...(options.origins && { cors: { origins: options.origins, credentials: true } }),
    }),
  )
  // Nothing else of the caller's variables, since `REGISTRY_*` ones would override the file.
  const { PATH, NODE_V8_COVERAGE } = process.env
  const daemon = stack.use(
    startDaemon(process.execPath, [program, 'serve', config], { env: { PATH, NODE_V8_COVERAGE } }),
  )
  const url = await daemon.ready(() => listeningUrl(daemon.stdout()))
  const owned = stack.move()
  return {
    port: Number(url.port),
    log: () => daemon.stdout() + daemon.stderr(),
    stop: daemon.stop,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

function listeningUrl(log: string): URL | undefined {
  const line = log.split('\n').find((candidate) => candidate.includes('"msg":"listening"'))
  // The last line may be cut off in the middle; it is asked for again.
  const value = /"url":"([^"]+)"/.exec(line ?? '')?.[1]
  return value === undefined ? undefined : new URL(value)
}

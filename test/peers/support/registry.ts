import { mkdtempDisposable, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startDaemon } from './process.ts'

export type RegistryOptions = {
  /** The registry's `http.host`: the base of every Location it sends. */
  readonly httpHost?: string
  /** The registry's `http.relativeurls`: Locations without scheme and host. */
  readonly relativeurls?: boolean
}

export type Registry = AsyncDisposable & {
  /** Its own plain HTTP address, `http://127.0.0.1:PORT`. */
  readonly url: string
  /** The request lines it has answered so far, with their status: `"POST /v2/… HTTP/1.1" 201 …`. */
  readonly accessLog: () => string
}

const listening = /msg="listening on (127\.0\.0\.1:\d+)"/

/** Starts an unmodified docker-registry on a free port with an empty store, deletes allowed. */
export async function startRegistry(options: RegistryOptions = {}): Promise<Registry> {
  await using stack = new AsyncDisposableStack()
  const folder = stack.use(await mkdtempDisposable(join(tmpdir(), 'registry-')))
  const config = join(folder.path, 'config.yml')
  // JSON is YAML.
  await writeFile(
    config,
    JSON.stringify({
      version: '0.1',
      log: { level: 'info' },
      storage: {
        filesystem: { rootdirectory: join(folder.path, 'store') },
        delete: { enabled: true },
      },
      http: {
        addr: '127.0.0.1:0',
        ...(options.httpHost === undefined ? {} : { host: options.httpHost }),
        relativeurls: options.relativeurls ?? false,
      },
    }),
  )
  const daemon = stack.use(startDaemon('docker-registry', ['serve', config], { env: bareEnv() }))
  const address = await daemon.ready(() => listening.exec(daemon.stderr() + daemon.stdout())?.[1])
  const owned = stack.move()
  return {
    url: `http://${address}`,
    accessLog: () => daemon.stdout(),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

/** Without the caller's variables, since `REGISTRY_*` ones would override the file. */
function bareEnv(): NodeJS.ProcessEnv {
  return { PATH: process.env['PATH'] }
}

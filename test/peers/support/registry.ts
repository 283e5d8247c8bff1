import { mkdtempDisposable, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Finished, run, startDaemon } from './process.ts'

export type RegistryOptions = {
  /** The registry's `http.host`: the base of every Location it sends. */
  readonly httpHost?: string
  /** The registry's `http.relativeurls`: Locations without scheme and host. */
  readonly relativeurls?: boolean
  /** The folder of its store; one of its own, which goes with it, unless given. */
  readonly store?: string
}

export type Registry = AsyncDisposable & {
  /** Its own plain HTTP address, `http://127.0.0.1:PORT`. */
  readonly url: string
  /** The request lines it has answered so far, with their status: `"POST /v2/… HTTP/1.1" 201 …`. */
  readonly accessLog: () => string
}

const listening = /msg="listening on (127\.0\.0\.1:\d+)"/

/** Starts an unmodified docker-registry on a free port, deletes allowed. */
export async function startRegistry(options: RegistryOptions = {}): Promise<Registry> {
  await using stack = new AsyncDisposableStack()
  const folder = stack.use(await mkdtempDisposable(join(tmpdir(), 'registry-')))
  const config = await writeConfig(folder.path, options)
  const daemon = stack.use(startDaemon('docker-registry', ['serve', config], { env: bareEnv() }))
  const address = await daemon.ready(() => listening.exec(daemon.stderr() + daemon.stdout())?.[1])
  const owned = stack.move()
  return {
    url: `http://${address}`,
    accessLog: () => daemon.stdout(),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

/**
 * Runs docker-registry's own offline collection on a store.
 * @param flags such as `--delete-untagged`
 */
export async function collectGarbage(store: string, flags: readonly string[]): Promise<Finished> {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'registry-'))
  const config = await writeConfig(folder.path, { store })
  return await run('docker-registry', ['garbage-collect', ...flags, config], { env: bareEnv() })
}

async function writeConfig(folder: string, options: RegistryOptions): Promise<string> {
  const config = join(folder, 'config.yml')
  // JSON is YAML.
  await writeFile(
    config,
    JSON.stringify({
      version: '0.1',
      log: { level: 'info' },
      storage: {
        filesystem: { rootdirectory: options.store ?? join(folder, 'store') },
        delete: { enabled: true },
      },
      http: {
        addr: '127.0.0.1:0',
        ...(options.httpHost === undefined ? {} : { host: options.httpHost }),
        relativeurls: options.relativeurls ?? false,
      },
    }),
  )
  return config
}

/** Without the caller's variables, since `REGISTRY_*` ones would override the file. */
function bareEnv(): NodeJS.ProcessEnv {
  return { PATH: process.env['PATH'] }
}

import { mkdtempDisposable, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ServerProcess, startServerProcess } from './server-process.ts'

export type StoreProcess = ServerProcess & {
  readonly origin: string
  /** Its configuration, for commands that work on the same folder. */
  readonly configFile: string
}

export type StoreProcessOptions = {
  /** YAML of further keys under `storage.filesystem`, e.g. `minfree: 0`. */
  readonly filesystem?: string
  /** YAML of further keys under `storage`, e.g. `maxmanifestsize: 1MiB`. */
  readonly storage?: string
  /** YAML of further keys under `http`, e.g. `draintimeout: 5s`. */
  readonly http?: string
  /** How many processes serve. */
  readonly workers?: number
  /** A command line that runs the server, e.g. of a tracer. */
  readonly wrapper?: readonly string[]
}

/**
 * Tidegate as a process of its own with its own store in `root`, on a free plain HTTP port, deletion
 * enabled. Plain, so that what fails fails in the registry, and not for lack of time to shake hands.
 */
export async function startStoreProcess(
  root: string,
  { filesystem = '', storage = '', http = '', workers = 1, wrapper = [] }: StoreProcessOptions = {},
): Promise<StoreProcess> {
  const directory = await mkdtempDisposable(join(tmpdir(), 'tidegate-'))
  const configFile = join(directory.path, 'config.yml')
  const config = `version: 0.1
workers: ${workers}
http: {addr: '127.0.0.1:0', ${http}}
storage: {filesystem: {rootdirectory: '${root}', ${filesystem}}, delete: {enabled: true}, ${storage}}
`
  await writeFile(configFile, config)
  const server = await startServerProcess(configFile, wrapper)
  return {
    ...server,
    origin: `http://127.0.0.1:${server.port}`,
    configFile,
    async [Symbol.asyncDispose]() {
      await server.kill()
      await directory.remove()
    },
  }
}

/** What the log tells of faults that nobody foresaw: there must be none, whatever a test did. */
export function faultsIn({ lines }: Pick<ServerProcess, 'lines'>): string[] {
  const faults = lines.filter(
    ({ msg }) => msg === 'request failed unexpectedly' || msg === 'unforeseen fault: stopping',
  )
  return faults.map((fault) => JSON.stringify(fault))
}

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Server, Workspace } from '../workspace.ts'

export type TidegateOptions = {
  readonly name?: string
  /** The registry behind it. One of `upstream` and `store` is given. */
  readonly upstream?: string
  /** Folder of the registry that it is itself. */
  readonly store?: string
  /** Processes; as many as its default has unless given. */
  readonly workers?: number
  readonly hasUsers?: boolean
  /** Whether it writes its access log. */
  readonly isLogged?: boolean
}

const program = join(import.meta.dirname, '../../../src/cli.ts')

/** Tidegate as `tidegate serve` runs it, with TLS and its access log in a file. */
export function startTidegate(workspace: Workspace, options: TidegateOptions): Promise<Server> {
  return workspace.serve({
    name: options.name ?? 'tidegate',
    readyText: '"msg":"listening"',
    command(port, folder) {
      const file = join(folder, 'config.yml')
      // JSON is YAML.
      writeFileSync(file, JSON.stringify(configuration(workspace, port, options)))
      return [process.execPath, program, 'serve', file]
    },
  })
}

function configuration(
  { certificate, key, authority, htpasswd }: Workspace,
  port: number,
  { upstream, store, workers, hasUsers = false, isLogged = true }: TidegateOptions,
): object {
  return {
    version: '0.1',
    http: { addr: `127.0.0.1:${port}`, tls: { certificate, key } },
    log: { accesslog: { disabled: !isLogged } },
    ...(workers !== undefined && { workers }),
    ...(hasUsers && { auth: { htpasswd: { realm: 'Bench', path: htpasswd } } }),
    ...(upstream !== undefined && {
      upstream: { url: upstream, ...(upstream.startsWith('https:') && { tls: { ca: authority } }) },
    }),
    ...(store !== undefined && { storage: { filesystem: { rootdirectory: store } } }),
  }
}

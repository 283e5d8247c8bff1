import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Server, Workspace } from '../workspace.ts'

export type CaddyOptions = { readonly upstream: string; readonly threads?: number }

/** caddy as a TLS front of `upstream`, with its access log in a file. */
export function startCaddy(
  { certificate, key, serve }: Workspace,
  { upstream, threads }: CaddyOptions,
): Promise<Server> {
  const configuration = (port: number, folder: string): string => `
{
  admin off
  auto_https off
  servers {
    protocols h1
  }
}
https://127.0.0.1:${port} {
  bind 127.0.0.1
  tls ${certificate} ${key}
  log {
    output file ${folder}/access.log
  }
  reverse_proxy ${upstream}
}
`
  return serve({
    name: 'caddy',
    env: threads === undefined ? {} : { GOMAXPROCS: String(threads) },
    command(port, folder) {
      const file = join(folder, 'Caddyfile')
      writeFileSync(file, configuration(port, folder))
      return ['caddy', 'run', '--adapter', 'caddyfile', '--config', file]
    },
  })
}

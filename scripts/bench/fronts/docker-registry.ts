import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Server, Workspace } from '../workspace.ts'

/** docker-registry with TLS and htpasswd over the folder `store`, with its logs in a file. */
export function startDockerRegistry(
  { certificate, key, htpasswd, serve }: Workspace,
  { store }: { readonly store: string },
): Promise<Server> {
  const configuration = (port: number): object => ({
    version: '0.1',
    storage: { filesystem: { rootdirectory: store } },
    http: { addr: `127.0.0.1:${port}`, tls: { certificate, key } },
    auth: { htpasswd: { realm: 'Bench', path: htpasswd } },
  })
  return serve({
    name: 'docker-registry',
    command(port, folder) {
      const file = join(folder, 'registry.yml')
      // JSON is YAML.
      writeFileSync(file, JSON.stringify(configuration(port)))
      return ['docker-registry', 'serve', file]
    },
  })
}

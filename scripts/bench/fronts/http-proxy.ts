import { join } from 'node:path'
import type { Server, Workspace } from '../workspace.ts'

const program = join(import.meta.dirname, '../http-proxy-front.js')

/** npm's `http-proxy` as a TLS front of `upstream`. It has no access log. */
export function startHttpProxy(
  { certificate, key, serve }: Workspace,
  { upstream }: { readonly upstream: string },
): Promise<Server> {
  return serve({
    name: 'http-proxy',
    command: (port) => [process.execPath, program, String(port), certificate, key, upstream],
  })
}

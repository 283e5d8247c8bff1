import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Server, Workspace } from '../workspace.ts'

export type HaproxyOptions = { readonly upstream: string; readonly threads?: number }

/** haproxy as a TLS front of `upstream`, with its HTTP log in a file. */
export function startHaproxy(
  workspace: Workspace,
  { upstream, threads }: HaproxyOptions,
): Promise<Server> {
  const { protocol, host } = new URL(upstream)
  const verified = `ssl verify required ca-file ${workspace.authority} verifyhost localhost`
  const configuration = (port: number): string => `
global
  log stdout format raw local0
  maxconn 8000
  ${threads === undefined ? '' : `nbthread ${threads}`}
  ssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256
  ssl-default-server-ciphersuites TLS_AES_128_GCM_SHA256
defaults
  mode http
  log global
  option httplog
  option forwardfor
  timeout connect 5s
  timeout client 5m
  timeout server 5m
frontend front
  bind 127.0.0.1:${port} ssl crt ${join(workspace.folder, 'server.pem')} ssl-min-ver TLSv1.3 alpn http/1.1
  http-request set-header X-Forwarded-Proto https
  default_backend registry
backend registry
  server registry ${host} ${protocol === 'https:' ? verified : ''}
`
  return workspace.serve({
    name: 'haproxy',
    command(port, folder) {
      const file = join(folder, 'haproxy.cfg')
      writeFileSync(file, configuration(port))
      return ['haproxy', '-db', '-f', file]
    },
  })
}

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Server, Workspace } from '../workspace.ts'

export type NginxOptions = {
  readonly name?: string
  readonly upstream: string
  /** `tuned`: as well as it can be for a registry; `articles`: what articles on registries show. */
  readonly style?: 'tuned' | 'articles'
  readonly workers?: number | 'auto'
  readonly hasUsers?: boolean
}

/** nginx as a TLS front of `upstream`, with its access log in a file. */
export function startNginx(workspace: Workspace, options: NginxOptions): Promise<Server> {
  const { name = 'nginx', upstream, style = 'tuned', hasUsers = false } = options
  const rules = style === 'tuned' ? tuned(workspace, upstream) : articles(upstream)
  const auth = hasUsers ? `auth_basic Bench; auth_basic_user_file ${workspace.htpasswd};` : ''
  const { certificate, key } = workspace
  return serveNginx(workspace, {
    name,
    workers: options.workers ?? 'auto',
    http: (port) => `
      ${rules.http}
      server {
        listen 127.0.0.1:${port} ssl;
        ssl_certificate ${certificate};
        ssl_certificate_key ${key};
        ssl_protocols TLSv1.3;
        ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
        client_max_body_size 0;
        location / { ${auth} ${rules.location} }
      }`,
  })
}

/** The fastest small backend there is: nginx that answers everything with `{}` over plain HTTP. */
export function startSmallBackend(workspace: Workspace): Promise<Server> {
  return serveNginx(workspace, {
    name: 'backend',
    workers: 1,
    http: (port) => `
      access_log off;
      keepalive_requests 1000000;
      default_type application/json;
      server { listen 127.0.0.1:${port}; location / { return 200 "{}"; } }`,
  })
}

type Rules = { readonly http: string; readonly location: string }

const forwarded = `
  proxy_set_header Host $http_host;
  proxy_set_header X-Real-IP $remote_addr;
  proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
  proxy_set_header X-Forwarded-Proto $scheme;`

function articles(upstream: string): Rules {
  return { http: '', location: `proxy_pass ${upstream}; ${forwarded}` }
}

/** Nothing on disk either way, connections kept, buffers as large as they help. */
function tuned({ authority }: Workspace, upstream: string): Rules {
  const { protocol, host } = new URL(upstream)
  return {
    http: `
      sendfile on;
      tcp_nopush on;
      tcp_nodelay on;
      keepalive_requests 1000000;
      ssl_session_cache shared:SSL:10m;
      upstream backend { server ${host}; keepalive 64; keepalive_requests 1000000; }`,
    location: `
      proxy_pass ${protocol}//backend;
      proxy_http_version 1.1;
      proxy_set_header Connection '';
      ${forwarded}
      proxy_request_buffering off;
      client_body_buffer_size 1m;
      proxy_max_temp_file_size 0;
      proxy_buffer_size 64k;
      proxy_buffers 16 256k;
      proxy_busy_buffers_size 1m;
      proxy_ssl_verify on;
      proxy_ssl_trusted_certificate ${authority};
      proxy_ssl_name localhost;
      proxy_ssl_protocols TLSv1.3;`,
  }
}

type ServeOptions = {
  readonly name: string
  readonly workers: number | 'auto'
  readonly http: (port: number) => string
}

function serveNginx(workspace: Workspace, { name, workers, http }: ServeOptions): Promise<Server> {
  return workspace.serve({
    name,
    command(port, folder) {
      const file = join(folder, 'nginx.conf')
      writeFileSync(file, configuration({ folder, workers, http: http(port) }))
      return ['nginx', '-p', folder, '-e', 'stderr', '-c', file]
    },
  })
}

function configuration({
  folder,
  workers,
  http,
}: {
  readonly folder: string
  readonly workers: number | 'auto'
  readonly http: string
}): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (kind) => `${kind}_temp_path ${folder}/${kind};`,
  )
  // Workers of another user could not enter the folder.
  const user = process.getuid?.() === 0 ? 'user root;' : ''
  return `
    daemon off;
    ${user}
    worker_processes ${workers};
    pid ${folder}/nginx.pid;
    error_log stderr;
    events { worker_connections 8192; }
    http {
      access_log ${folder}/access.log combined buffer=64k flush=1s;
      ${temporary.join(' ')}
      ${http}
    }`
}

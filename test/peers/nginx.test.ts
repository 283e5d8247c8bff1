import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PASSWORD, USER } from './support/credentials.ts'
import { type Fixtures, makeFixtures } from './support/fixtures.ts'
import { freePort } from './support/free-port.ts'
import { ask } from './support/https.ts'
import { makeImages } from './support/images.ts'
import { type Peer, peerTest } from './support/peers.ts'
import { type Finished, startDaemon } from './support/process.ts'
import { startRegistry } from './support/registry.ts'
import { openSandbox } from './support/sandbox.ts'
import { startTidegate } from './support/tidegate.ts'

type Front = AsyncDisposable & { readonly port: number }

/** What the usual article puts in front of a registry. */
function articleConfig(folder: string, port: number, upstream: string, fixtures: Fixtures): string {
  const { certificates, htpasswd } = fixtures
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (kind) => `${kind}_temp_path ${folder}/${kind};`,
  )
  return `
    daemon off;
    ${process.getuid?.() === 0 ? 'user root;' : ''}
    pid ${folder}/nginx.pid;
    error_log stderr;
    events { worker_connections 1024; }
    http {
      access_log off;
      ${temporary.join('\n')}
      server {
        listen 127.0.0.1:${port} ssl;
        ssl_certificate ${certificates.certificate};
        ssl_certificate_key ${certificates.key};
        client_max_body_size 1G;
        location / {
          auth_basic "Registry";
          auth_basic_user_file ${htpasswd};
          proxy_pass ${upstream};
          proxy_set_header Host $host;
          proxy_set_header X-Real-IP $remote_addr;
          proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
          proxy_set_header X-Forwarded-Proto $scheme;
        }
      }
    }`
}

async function startNginx(upstream: string, fixtures: Fixtures): Promise<Front> {
  const folder = join(fixtures.folder, 'nginx')
  await mkdir(folder)
  const port = await freePort()
  const config = join(folder, 'nginx.conf')
  await writeFile(config, articleConfig(folder, port, upstream, fixtures))
  const daemon = startDaemon('nginx', ['-p', folder, '-e', 'stderr', '-c', config])
  const url = new URL(`https://localhost:${port}/`)
  await daemon.ready(() => ask('GET', url, fixtures.certificates.authority).catch(() => undefined))
  return { port, [Symbol.asyncDispose]: () => daemon[Symbol.asyncDispose]() }
}

/** Where a client that starts an upload is told to send the bytes. */
async function uploadOrigin(port: number, authority: string): Promise<string> {
  const url = new URL(`https://localhost:${port}/v2/team/app/blobs/uploads/`)
  const { status, headers } = await ask('POST', url, authority)
  if (headers.location === undefined) throw new Error(`no Location in an answer ${status}`)
  return new URL(headers.location, url).origin
}

const peers: readonly Peer[] = ['docker-registry', 'htpasswd', 'openssl', 'skopeo', 'nginx']

peerTest(
  peers,
  'on a port of its own, the usual nginx.conf loses the port from Location and a push fails; Tidegate keeps it',
  async (t) => {
    await using stack = new AsyncDisposableStack()
    const fixtures = stack.use(await makeFixtures())
    const { certificates, htpasswd } = fixtures
    const images = await makeImages(fixtures.folder)
    const sandbox = stack.use(await openSandbox())
    const registry = stack.use(await startRegistry())
    const nginx = stack.use(await startNginx(registry.url, fixtures))
    const tidegate = stack.use(
      await startTidegate({ upstream: registry.url, certificates, htpasswd }),
    )
    const push = (port: number): Promise<Finished> =>
      sandbox.run('skopeo', [
        ...['copy', '--dest-cert-dir', certificates.trusted],
        ...['--dest-creds', `${USER}:${PASSWORD}`],
        ...[`oci:${images.layout}:v1`, `docker://localhost:${port}/team/app:v1`],
      ])

    t.is(await uploadOrigin(nginx.port, certificates.authority), 'https://localhost')
    const failed = await push(nginx.port)
    t.not(failed.code, 0)
    t.regex(failed.stderr, /https:\/\/localhost\/v2\/team\/app\/blobs\/uploads\//)

    const { port } = tidegate
    t.is(await uploadOrigin(port, certificates.authority), `https://localhost:${port}`)
    const pushed = await push(port)
    t.is(pushed.code, 0, pushed.stderr)
  },
)

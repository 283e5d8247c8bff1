import { copyFile, mkdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { USER } from './credentials.ts'
import type { Images } from './images.ts'
import { type Finished, must } from './process.ts'
import type { Sandbox } from './sandbox.ts'

type Pulled = {
  readonly manifest: string
  /** Digests of the unpacked layers. */
  readonly diffIds: readonly string[]
}

/** One container tool and one image, `AUTHORITY/REPOSITORY:v1`. */
export type Client = {
  /** Gives the tool the authority's certificate, in the way its manual describes. */
  trust(): Promise<void>
  login(password: string): Promise<Finished>
  logout(): Promise<Finished>
  /** Makes the image on this machine and returns the digests of its unpacked layers. */
  build(): Promise<readonly string[]>
  push(): Promise<Finished>
  /** Removes what this machine knows of the image. */
  forget(): Promise<void>
  pull(): Promise<Finished>
  /** What `pull` brought here. */
  pulled(): Promise<Pulled>
}

export type ClientOptions = {
  readonly sandbox: Sandbox
  readonly images: Images
  /** Path of the authority's certificate. */
  readonly authorityCertificate: string
  /** Host and port of the registry. */
  readonly registry: string
  readonly repository: string
}

/** A Go template that prints every element of a list on a line of its own. */
function eachLine(list: string): string {
  return `{{range ${list}}}{{println .}}{{end}}`
}

async function installCertificate(certificate: string, folder: string): Promise<void> {
  await mkdir(folder, { recursive: true })
  await copyFile(certificate, join(folder, 'ca.crt'))
}

/** Login, logout and trust, which skopeo, podman and buildah share. */
function containersTool(tool: string, { sandbox, registry, authorityCertificate }: ClientOptions) {
  const certificates = join(sandbox.folder, 'certs')
  return {
    certificates,
    trust: () => installCertificate(authorityCertificate, certificates),
    login: (password: string) =>
      sandbox.run(
        tool,
        ['login', '--cert-dir', certificates, '--username', USER, '--password-stdin', registry],
        password,
      ),
    logout: () => sandbox.run(tool, ['logout', registry]),
  }
}

const layoutIndex = z.object({ manifests: z.tuple([z.object({ digest: z.string() })]) })
const manifest = z.object({ config: z.object({ digest: z.string() }) })
const configuration = z.object({ rootfs: z.object({ diff_ids: z.array(z.string()) }) })

async function readLayout(layout: string): Promise<Pulled> {
  const blob = async (digest: string): Promise<unknown> =>
    JSON.parse(await readFile(join(layout, 'blobs', ...digest.split(':')), 'utf8'))
  const index = layoutIndex.parse(JSON.parse(await readFile(join(layout, 'index.json'), 'utf8')))
  const { digest } = index.manifests[0]
  const { config } = manifest.parse(await blob(digest))
  const { rootfs } = configuration.parse(await blob(config.digest))
  return { manifest: digest, diffIds: rootfs.diff_ids }
}

/** skopeo, copying from and to OCI layouts. */
export function createSkopeo(options: ClientOptions): Client {
  const { sandbox, images, registry, repository } = options
  const { certificates, ...session } = containersTool('skopeo', options)
  const remote = `docker://${registry}/${repository}:v1`
  const copied = join(sandbox.folder, 'copied')
  return {
    ...session,
    build: () => Promise.resolve(images.diffIds),
    push: () =>
      sandbox.run('skopeo', [
        ...['copy', '--dest-cert-dir', certificates],
        ...[`oci:${images.layout}:v1`, remote],
      ]),
    forget: () => rm(copied, { recursive: true, force: true }),
    pull: () =>
      sandbox.run('skopeo', [
        ...['copy', '--src-cert-dir', certificates],
        ...[remote, `oci:${copied}:v1`],
      ]),
    pulled: () => readLayout(copied),
  }
}

/** How podman and buildah differ. */
type StorageTool = {
  readonly name: 'podman' | 'buildah'
  readonly build: readonly string[]
  readonly manifest: readonly string[]
  readonly diffIds: readonly string[]
}

function createStorageClient(tool: StorageTool, options: ClientOptions): Client {
  const { sandbox, images, registry, repository } = options
  const { certificates, ...session } = containersTool(tool.name, options)
  const image = `${registry}/${repository}:v1`
  const run = (...args: string[]): Promise<Finished> => sandbox.run(tool.name, args)
  const ask = async (...args: string[]): Promise<string> =>
    must(await run(...args), `${tool.name} ${args.join(' ')}`).trim()
  const diffIds = async () => (await ask(...tool.diffIds, image)).split('\n')
  return {
    ...session,
    build: async () => {
      await ask(...tool.build, '--tag', image, images.context)
      return diffIds()
    },
    push: () => run('push', '--cert-dir', certificates, image),
    forget: async () => void (await ask('rmi', '--all', '--force')),
    pull: () => run('pull', '--cert-dir', certificates, image),
    pulled: async () => ({
      manifest: await ask(...tool.manifest, image),
      diffIds: await diffIds(),
    }),
  }
}

/** podman on a storage of its own. */
export function createPodman(options: ClientOptions): Client {
  const inspect = ['image', 'inspect', '--format']
  return createStorageClient(
    {
      name: 'podman',
      build: ['build'],
      manifest: [...inspect, '{{.Digest}}'],
      diffIds: [...inspect, eachLine('.RootFS.Layers')],
    },
    options,
  )
}

/** buildah on a storage of its own. */
export function createBuildah(options: ClientOptions): Client {
  const inspect = ['inspect', '--type', 'image', '--format']
  return createStorageClient(
    {
      name: 'buildah',
      build: ['build', '--layers', '--isolation', 'chroot'],
      manifest: [...inspect, '{{.FromImageDigest}}'],
      diffIds: [...inspect, eachLine('.OCIv1.RootFS.DiffIDs')],
    },
    options,
  )
}

/** docker with the daemon at `socket`, which runs in `options.sandbox`. */
export function createDocker(socket: string, options: ClientOptions): Client {
  const { sandbox, images, registry, repository, authorityCertificate } = options
  const image = `${registry}/${repository}:v1`
  const docker = (args: readonly string[], input?: string): Promise<Finished> =>
    sandbox.run('docker', ['--host', socket, ...args], input)
  const ask = async (...args: string[]): Promise<string> =>
    must(await docker(args), `docker ${args.join(' ')}`).trim()
  const diffIds = async () =>
    (await ask('inspect', '--format', eachLine('.RootFS.Layers'), image)).split('\n')
  return {
    trust: () =>
      installCertificate(
        authorityCertificate,
        join(sandbox.folder, 'etc-docker', 'certs.d', registry),
      ),
    login: (password) =>
      docker(['login', '--username', USER, '--password-stdin', registry], password),
    logout: () => docker(['logout', registry]),
    build: async () => {
      const file = join(images.context, 'Containerfile')
      await ask('build', '--file', file, '--tag', image, images.context)
      return diffIds()
    },
    push: () => docker(['push', image]),
    forget: async () => void (await ask('system', 'prune', '--all', '--force')),
    pull: () => docker(['pull', image]),
    pulled: async () => {
      const reference = await ask('inspect', '--format', '{{index .RepoDigests 0}}', image)
      return { manifest: reference.slice(reference.indexOf('@') + 1), diffIds: await diffIds() }
    },
  }
}

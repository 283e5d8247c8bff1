import { copyFile, mkdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { USER } from './credentials.ts'
import type { Images } from './images.ts'
import { type Daemon, type Finished, must } from './process.ts'
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
  /** Begins a push, for a test to interrupt. */
  startPush(): Daemon
  /** Makes an index of images for amd64 and arm64, `AUTHORITY/REPOSITORY:multi`, and pushes it whole. */
  pushIndex(): Promise<Finished>
  /** Pulls the image for arm64 from that index; resolves with the architecture that it says it is for. */
  pullArm64(): Promise<string>
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
export function eachLine(list: string): string {
  return `{{range ${list}}}{{println .}}{{end}}`
}

/** Puts the certificate of an authority where container tools look for one. */
export async function installCertificate(certificate: string, folder: string): Promise<void> {
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

/** What an index lists. */
export const PLATFORMS = ['linux/amd64', 'linux/arm64'] as const

const layoutIndex = z.object({ manifests: z.tuple([z.object({ digest: z.string() })]) })
const manifest = z.object({ config: z.object({ digest: z.string() }) })
const configuration = z.object({
  architecture: z.string(),
  rootfs: z.object({ diff_ids: z.array(z.string()) }),
})

async function readLayout(layout: string): Promise<Pulled & { readonly architecture: string }> {
  const blob = async (digest: string): Promise<unknown> =>
    JSON.parse(await readFile(join(layout, 'blobs', ...digest.split(':')), 'utf8'))
  const index = layoutIndex.parse(JSON.parse(await readFile(join(layout, 'index.json'), 'utf8')))
  const { digest } = index.manifests[0]
  const { config } = manifest.parse(await blob(digest))
  const { rootfs, architecture } = configuration.parse(await blob(config.digest))
  return { manifest: digest, diffIds: rootfs.diff_ids, architecture }
}

/** skopeo, copying from and to OCI layouts. */
export function createSkopeo(options: ClientOptions): Client {
  const { sandbox, images, registry, repository } = options
  const { certificates, ...session } = containersTool('skopeo', options)
  const remote = `docker://${registry}/${repository}`
  const copied = join(sandbox.folder, 'copied')
  const push = [
    ...['copy', '--dest-cert-dir', certificates],
    ...[`oci:${images.layout}:v1`, `${remote}:v1`],
  ]
  const pull = (from: string): Promise<Finished> =>
    sandbox.run('skopeo', [
      ...['copy', '--override-arch', from === 'multi' ? 'arm64' : 'amd64'],
      ...['--src-cert-dir', certificates, `${remote}:${from}`, `oci:${copied}:v1`],
    ])
  const layoutOf = async () => {
    const { architecture, ...pulled } = await readLayout(copied)
    return { architecture, pulled }
  }
  return {
    ...session,
    build: () => Promise.resolve(images.diffIds),
    push: () => sandbox.run('skopeo', push),
    startPush: () => sandbox.start('skopeo', push),
    pushIndex: () =>
      sandbox.run('skopeo', [
        ...['copy', '--all', '--dest-cert-dir', certificates],
        ...[`oci:${images.layout}:multi`, `${remote}:multi`],
      ]),
    pullArm64: async () => {
      must(await pull('multi'), 'skopeo copy --override-arch arm64')
      return (await layoutOf()).architecture
    },
    forget: () => rm(copied, { recursive: true, force: true }),
    pull: () => pull('v1'),
    pulled: async () => (await layoutOf()).pulled,
  }
}

/** How podman and buildah differ. */
type StorageTool = {
  readonly name: 'podman' | 'buildah'
  readonly build: readonly string[]
  readonly manifest: readonly string[]
  readonly diffIds: readonly string[]
  readonly architecture: readonly string[]
}

function createStorageClient(tool: StorageTool, options: ClientOptions): Client {
  const { sandbox, images, registry, repository } = options
  const { certificates, ...session } = containersTool(tool.name, options)
  const image = `${registry}/${repository}:v1`
  const index = `${registry}/${repository}:multi`
  const push = ['push', '--cert-dir', certificates, image]
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
    push: () => run(...push),
    startPush: () => sandbox.start(tool.name, push),
    pushIndex: async () => {
      const platforms = PLATFORMS.join(',')
      // What is built from nothing is found in the cache whatever the platform.
      const flags = ['--no-cache', '--platform', platforms, '--manifest', index]
      await ask(...tool.build, ...flags, images.context)
      const target = ['--cert-dir', certificates, index, `docker://${index}`]
      return run('manifest', 'push', '--all', ...target)
    },
    pullArm64: async () => {
      await ask('pull', '--arch', 'arm64', '--cert-dir', certificates, index)
      return ask(...tool.architecture, index)
    },
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
      architecture: [...inspect, '{{.Architecture}}'],
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
      architecture: [...inspect, '{{.OCIv1.Architecture}}'],
    },
    options,
  )
}

import { join } from 'node:path'
import {
  type Client,
  type ClientOptions,
  eachLine,
  installCertificate,
  PLATFORMS,
} from './clients.ts'
import { USER } from './credentials.ts'
import { type Finished, must } from './process.ts'

/** docker with the daemon at `socket`, which runs in `options.sandbox`. */
export function createDocker(socket: string, options: ClientOptions): Client {
  const { sandbox, images, registry, repository, authorityCertificate } = options
  const name = `${registry}/${repository}`
  const image = `${name}:v1`
  const docker = (args: readonly string[], input?: string): Promise<Finished> =>
    sandbox.run('docker', ['--host', socket, ...args], input)
  const ask = async (...args: string[]): Promise<string> =>
    must(await docker(args), `docker ${args.join(' ')}`).trim()
  const build = (tag: string, ...flags: string[]): Promise<string> => {
    const file = join(images.context, 'Containerfile')
    return ask('build', ...flags, '--file', file, '--tag', `${name}:${tag}`, images.context)
  }
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
      await build('v1')
      return diffIds()
    },
    push: () => docker(['push', image]),
    startPush: () => sandbox.start('docker', ['--host', socket, 'push', image]),
    pushIndex: async () => {
      const members: string[] = []
      for (const platform of PLATFORMS) {
        const tag = platform.replace('linux/', '')
        await build(tag, '--no-cache', '--platform', platform)
        await ask('push', `${name}:${tag}`)
        members.push(`${name}:${tag}`)
      }
      await ask('manifest', 'create', `${name}:multi`, ...members)
      return docker(['manifest', 'push', `${name}:multi`])
    },
    pullArm64: async () => {
      await ask('pull', '--platform', 'linux/arm64', `${name}:multi`)
      return ask('inspect', '--format', '{{.Architecture}}', `${name}:multi`)
    },
    forget: async () => void (await ask('system', 'prune', '--all', '--force')),
    pull: () => docker(['pull', image]),
    pulled: async () => {
      const reference = await ask('inspect', '--format', '{{index .RepoDigests 0}}', image)
      return { manifest: reference.slice(reference.indexOf('@') + 1), diffIds: await diffIds() }
    },
  }
}

import { mkdir, mkdtempDisposable, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { mayMount } from './privilege.ts'
import { type Daemon, type Finished, run, startDaemon } from './process.ts'

export type Sandbox = AsyncDisposable & {
  readonly folder: string
  run(command: string, args: readonly string[], input?: string): Promise<Finished>
  start(command: string, args: readonly string[]): Daemon
}

/**
 * Paths that container tools write to whatever options they are given (caches of where blobs were
 * seen, locks, sockets, the docker daemon's certificates), each with its stand-in in the sandbox.
 */
const stateFolders = {
  lib: '/var/lib',
  run: '/run',
  shm: '/dev/shm',
  'etc-docker': '/etc/docker',
} as const

/**
 * Runs its arguments where those paths are folders of `$SANDBOX`; seen by nobody else, gone with the
 * last process. Without leave to mount there is no hiding, and HOME and XDG_RUNTIME_DIR have to do.
 */
const confine = [
  'set -e',
  ...Object.entries(stateFolders).map(
    ([name, path]) => `if [ -d ${path} ]; then mount --bind "$SANDBOX/${name}" ${path}; fi`,
  ),
  'mount --bind "$SANDBOX/hosts" /etc/hosts',
  'exec "$@"',
].join('\n')

/**
 * Makes a place of its own for container tools: home, credentials, storage, caches and name lookup.
 * @param hosts names to resolve besides localhost, with their addresses
 */
export async function openSandbox(hosts: Readonly<Record<string, string>> = {}): Promise<Sandbox> {
  const disposable = await mkdtempDisposable(join(tmpdir(), 'sandbox-'))
  const folder = disposable.path
  for (const name of [...Object.keys(stateFolders), 'home', 'run/user']) {
    await mkdir(join(folder, name), { recursive: true })
  }
  const credentials = join(folder, 'home', 'auth.json')
  await writeFile(credentials, '{}')
  const storage = join(folder, 'home', 'storage.conf')
  await writeFile(
    storage,
    // vfs works on any file system, with any kernel.
    `[storage]\ndriver = "vfs"\ngraphroot = "${folder}/storage"\nrunroot = "${folder}/run/storage"\n`,
  )
  const lines = Object.entries({ localhost: '127.0.0.1', ...hosts })
  await writeFile(
    join(folder, 'hosts'),
    lines.map(([name, address]) => `${address} ${name}\n`).join(''),
  )
  const env: NodeJS.ProcessEnv = {
    PATH: `${process.env['PATH']}:/usr/sbin:/sbin`,
    LANG: 'C.UTF-8',
    SANDBOX: folder,
    HOME: join(folder, 'home'),
    XDG_RUNTIME_DIR: join(folder, 'run', 'user'),
    REGISTRY_AUTH_FILE: credentials,
    CONTAINERS_STORAGE_CONF: storage,
    // The classic builder needs no plugin, and no image pulled to build from nothing.
    DOCKER_BUILDKIT: '0',
  }
  const confined = (command: string, args: readonly string[]): [string, string[]] =>
    mayMount()
      ? ['unshare', ['--mount', 'sh', '-c', confine, 'sh', command, ...args]]
      : [command, [...args]]
  return {
    folder,
    run: (command, args, input = '') => run(...confined(command, args), { env, input }),
    start: (command, args) => startDaemon(...confined(command, args), { env }),
    [Symbol.asyncDispose]: () => disposable.remove(),
  }
}

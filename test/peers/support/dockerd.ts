import { networkInterfaces } from 'node:os'
import { join } from 'node:path'
import { PRIVATE_NAMES } from './certificates.ts'
import { openSandbox, type Sandbox } from './sandbox.ts'

/**
 * An address of this machine that is not in 127.0.0.0/8. The docker daemon takes every registry in
 * there for an insecure one and would verify no certificate.
 */
export function nonLoopbackAddress(): string {
  const addresses = Object.values(networkInterfaces()).flatMap((list) => list ?? [])
  return (
    addresses.find(({ family, internal }) => family === 'IPv4' && !internal)?.address ?? '[::1]'
  )
}

/** Starts a docker daemon of its own, for which `PRIVATE_NAMES` are `nonLoopbackAddress()`. */
export async function startDockerd(): Promise<Sandbox & { readonly socket: string }> {
  await using stack = new AsyncDisposableStack()
  const address = nonLoopbackAddress().replace(/^\[|\]$/g, '')
  const sandbox = stack.use(
    await openSandbox(Object.fromEntries(PRIVATE_NAMES.map((name) => [name, address]))),
  )
  const socket = `unix://${join(sandbox.folder, 'docker.sock')}`
  const daemon = stack.use(
    sandbox.start('dockerd', [
      ...['--host', socket, '--storage-driver', 'vfs', '--bridge', 'none'],
      ...['--iptables=false', '--ip6tables=false'],
    ]),
  )
  await daemon.ready(async () => {
    const { code } = await sandbox.run('docker', ['--host', socket, 'version'])
    return code === 0 ? true : undefined
  })
  const owned = stack.move()
  return { ...sandbox, socket, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

import cluster from 'node:cluster'
import { once } from 'node:events'
import { lstat, unlink } from 'node:fs/promises'
import { type AddressInfo, connect, type ListenOptions, type Server } from 'node:net'
import { StartupError } from '../lib/startup-error.ts'

/** Listens. @throws StartupError with one line if it cannot */
export async function listen(server: Server, options: ListenOptions): Promise<void> {
  // Not in a worker: what it takes for left behind may be what another worker just made.
  if (!cluster.isWorker) await clearAddress(options)
  await tryListen(server, options).catch((cause: unknown) => {
    throw problem(options, cause)
  })
}

/** Removes what keeps everybody from listening, for workers that are about to. @throws StartupError */
export async function clearAddress(options: ListenOptions): Promise<void> {
  if (options.path === undefined) return
  await removeStaleSocket(options.path).catch((cause: unknown) => {
    throw problem(options, cause)
  })
}

async function tryListen(server: Server, options: ListenOptions): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  server.once('error', reject).listen(options, resolve)
  await promise
  server.off('error', reject)
}

/** A process that was killed leaves its socket file, which nobody can listen on again. */
async function removeStaleSocket(path: string): Promise<void> {
  const found = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error
  })
  if (found === undefined) return
  if (!found.isSocket()) {
    throw new StartupError(
      `http.addr ${path}: a file is in the way; remove it or choose another path`,
    )
  }
  if (await isDeserted(path)) await unlink(path)
}

/** True if nobody listens there; only a refusal says so, not whatever else keeps us from connecting. */
async function isDeserted(path: string): Promise<boolean> {
  const socket = connect(path)
  try {
    await once(socket, 'connect')
    return false
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'ECONNREFUSED'
  } finally {
    socket.destroy()
  }
}

function problem(options: ListenOptions, cause: unknown): StartupError {
  if (cause instanceof StartupError) return cause
  return new StartupError(`${describe(options)}: ${reasonOf(cause)}`, { cause })
}

function describe({ host, port, path }: ListenOptions): string {
  return `http.addr ${path ?? `${host ?? ''}:${port}`}`
}

function reasonOf(cause: unknown): string {
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined
  switch (code) {
    case 'EADDRINUSE':
      return 'another process listens there already; stop it or choose another address'
    case 'EACCES':
      return 'not permitted; ports below 1024 need root or the capability CAP_NET_BIND_SERVICE'
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
      return 'this machine has no such address'
    default:
      return String(cause)
  }
}

/** The address a server listens on, as a URL. */
export function urlOf(server: Server, scheme: 'http' | 'https'): string {
  const address: AddressInfo | string | null = server.address()
  if (address === null || typeof address === 'string') return `unix:${address ?? ''}`
  const host = address.family === 'IPv6' ? `[${address.address}]` : address.address
  return `${scheme}://${host}:${address.port}`
}

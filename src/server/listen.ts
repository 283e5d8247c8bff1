import type { AddressInfo, ListenOptions, Server } from 'node:net'
import { StartupError } from '../lib/startup-error.ts'

/** Listens. @throws StartupError with one line if it cannot */
export async function listen(server: Server, options: ListenOptions): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  server.once('error', reject).listen(options, resolve)
  try {
    await promise
    server.off('error', reject)
  } catch (cause) {
    throw new StartupError(`${describe(options)}: ${reasonOf(cause)}`, { cause })
  }
}

function describe({ host, port, path }: ListenOptions): string {
  return path ?? `http.addr ${host ?? ''}:${port}`
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

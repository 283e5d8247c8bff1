import { lookup, lookupService } from 'node:dns/promises'
import { hostname, networkInterfaces } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'

const lookupTimeoutMs = 2000
const label = '[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?'
const name = new RegExp(`^(?=.{1,253}$)${label}(\\.${label})*$`)

/** True for a DNS name in lower case that may stand in a certificate. RFC 1123 2.1. */
export function isHostName(text: string): boolean {
  return name.test(text)
}

/**
 * The names and addresses that clients may use for this host: localhost, its name, its full name
 * when it can be found quickly, and the addresses of its interfaces. Link-local IPv6 addresses are
 * left out: no URL can carry their zone, and each container that starts brings a new one.
 */
export async function listHostNames(): Promise<string[]> {
  const host = hostname().toLowerCase()
  const names = ['localhost', host, await findFullName(host)]
  const addresses = Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .filter(({ scopeid }) => (scopeid ?? 0) === 0)
    .map(({ address }) => address)
  const valid = names.filter((name) => name !== undefined && isHostName(name))
  return [...new Set([...valid, '127.0.0.1', '::1', ...addresses])].filter(
    (one) => one !== undefined,
  )
}

/** What `hostname -f` answers: the first name that the host's own address maps back to. */
async function findFullName(host: string): Promise<string | undefined> {
  const find = async (): Promise<string | undefined> => {
    const { address } = await lookup(host)
    const { hostname: full } = await lookupService(address, 0)
    return full.startsWith(`${host}.`) ? full.toLowerCase() : undefined
  }
  const timeout = delay(lookupTimeoutMs, undefined, { ref: false })
  return Promise.race([find().catch(() => undefined), timeout])
}

import { createBoundedMap } from '../lib/bounded-map.ts'
import type { Principal } from './authenticator.ts'
import { createKeyedHash } from './keyed-hash.ts'

/** A login that was found right, and the stored hash that it was right for. */
export type RightLogin = {
  readonly principal: Principal & { readonly kind: 'user' }
  readonly hash: string
}

export type LoginMemory = {
  /** The login that this `Authorization` value was found to be in the last minute. */
  find(authorization: string): RightLogin | undefined
  remember(authorization: string, login: RightLogin): void
}

const maxEntries = 10_000
const ttlMs = 60_000

/**
 * Remembers right logins by the whole header, so that the next request is spared even the reading of
 * it: 1.3 us instead of 5 us. Headers are known by a keyed hash: no password stays in memory.
 */
export function createLoginMemory({ now = Date.now }: { now?: () => number } = {}): LoginMemory {
  const keyOf = createKeyedHash()
  const logins = createBoundedMap<string, RightLogin>({ max: maxEntries, ttlMs, now })
  return {
    find: (authorization) => logins.get(keyOf(authorization)),
    remember: (authorization, login) => logins.set(keyOf(authorization), login),
  }
}

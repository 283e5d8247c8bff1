import { createBoundedMap } from '../lib/bounded-map.ts'
import { createKeyedHash } from './keyed-hash.ts'

/** A password offered for a user, and the stored hash it is checked against. */
type Claim = { readonly user: string; readonly password: string; readonly hash: string }

export type CredentialMemory = {
  /**
   * True when the claim was found right in the last four minutes, otherwise what `verify` finds.
   * Equal claims that arrive meanwhile share one verification. `verify` must mean "right": only
   * its true is remembered.
   */
  check(claim: Claim, verify: () => Promise<boolean>): Promise<boolean>
}

const maxEntries = 10_000
/** With the minute of the login memory in front of it, a login is verified anew every five minutes. */
const ttlMs = 4 * 60_000

/**
 * Remembers verified credentials, so that a push of a hundred requests costs one password hash, however
 * many processes ask. Claims are known by a keyed hash: no password stays in memory, and one that was
 * right under an older stored hash is another claim.
 */
export function createCredentialMemory({
  now = Date.now,
}: {
  now?: () => number
} = {}): CredentialMemory {
  const keyedHash = createKeyedHash()
  const verified = createBoundedMap<string, true>({ max: maxEntries, ttlMs, now })
  const inFlight = new Map<string, Promise<boolean>>()

  // NUL divides the fields unambiguously: no user name, password or hash has one.
  const keyOf = ({ user, password, hash }: Claim): string =>
    keyedHash(`${user}\0${password}\0${hash}`)

  const start = async (key: string, verify: () => Promise<boolean>): Promise<boolean> => {
    try {
      const isRight = await verify()
      if (isRight) verified.set(key, true)
      return isRight
    } finally {
      inFlight.delete(key)
    }
  }

  return {
    async check(claim, verify) {
      const key = keyOf(claim)
      if (verified.get(key)) return true
      const flight = inFlight.get(key) ?? start(key, verify)
      inFlight.set(key, flight)
      return flight
    },
  }
}

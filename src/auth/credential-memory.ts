import { createHmac, createSecretKey, randomBytes } from 'node:crypto'
import { createBoundedMap } from '../lib/bounded-map.ts'

/** A password offered for a user, and the stored hash it is checked against. */
type Claim = { readonly user: string; readonly password: string; readonly hash: string }

export type CredentialMemory = {
  /**
   * True when the claim was found right in the last five minutes, otherwise what `verify` finds.
   * Equal claims that arrive meanwhile share one verification. `verify` must mean "right": only
   * its true is remembered.
   */
  check(claim: Claim, verify: () => Promise<boolean>): Promise<boolean>
}

const maxEntries = 10_000
const ttlMs = 5 * 60_000

/**
 * Remembers verified credentials, so that a push of a hundred requests costs one password hash.
 * Claims are known by their HMAC under a key of this process: no password stays in memory, and one
 * that was right under an older stored hash is another claim.
 */
export function createCredentialMemory({
  now = Date.now,
}: {
  now?: () => number
} = {}): CredentialMemory {
  // As a key object: createHmac takes 7 us with it and 50 us with the bare bytes (Node 24).
  const processKey = createSecretKey(randomBytes(32))
  const verified = createBoundedMap<string, true>({ max: maxEntries, ttlMs, now })
  const inFlight = new Map<string, Promise<boolean>>()

  // NUL divides the fields unambiguously: control characters never get this far.
  const keyOf = ({ user, password, hash }: Claim): string =>
    createHmac('sha256', processKey).update(`${user}\0${password}\0${hash}`).digest('base64')

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

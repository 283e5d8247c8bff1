import type { PasswordVerifier } from '../auth/password-verifier.ts'
import type { Channel } from './channel.ts'
import { within } from './patience.ts'
import type { PrimaryHandlers } from './protocol.ts'

/** Twice what the last of a full waiting line needs, with hashes of 100 ms on one thread. */
const verificationMs = 60_000

/**
 * The verifier of a worker: the primary's. So a burst of guesses is one waiting line wherever its
 * connections went, and what was right at one worker costs no second hash at the next.
 */
export function createRemoteVerifier(primary: Channel<PrimaryHandlers>): PasswordVerifier {
  return {
    verify: (login) => within(verificationMs, primary.ask('verify', login)),
    async [Symbol.asyncDispose]() {},
  }
}

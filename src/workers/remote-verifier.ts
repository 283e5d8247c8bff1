import type { PasswordVerifier } from '../auth/password-verifier.ts'
import type { Channel } from './channel.ts'
import type { PrimaryHandlers } from './protocol.ts'

/**
 * The verifier of a worker: the primary's. So a burst of guesses is one waiting line wherever its
 * connections went, and what was right at one worker costs no second hash at the next.
 */
export function createRemoteVerifier(primary: Channel<PrimaryHandlers>): PasswordVerifier {
  return {
    verify: (login) => primary.ask('verify', login),
    failed: (attempt) => primary.tell('failed', attempt),
    async [Symbol.asyncDispose]() {},
  }
}

import { createBoundedMap } from '../lib/bounded-map.ts'
import type { Suspicion } from './verification-queue.ts'

type Login = { readonly client: string; readonly user: string }

export type FailureCounter = {
  failed(login: Login): void
  /**
   * Recent failures of this client as this user, then of this client as anybody. The second tells a
   * client that tries one user after the other from one that logs in for the first time.
   */
  of(login: Login): Suspicion
}

const maxEntries = 10_000
const windowMs = 5 * 60_000

/** Counts failed logins; a count is forgotten five minutes after the last failure. */
export function createFailureCounter({
  now = Date.now,
}: {
  now?: () => number
} = {}): FailureCounter {
  const failures = createBoundedMap<string, number>({ max: maxEntries, ttlMs: windowMs, now })
  const count = (key: string): number => failures.get(key) ?? 0
  const pairKey = ({ client, user }: Login): string => `${client}\0${user}`

  return {
    failed(login) {
      for (const key of [pairKey(login), login.client]) failures.set(key, count(key) + 1)
    },
    of: (login) => [count(pairKey(login)), count(login.client)],
  }
}

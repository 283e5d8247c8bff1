import type { Worker } from 'node:worker_threads'
import type { Logger } from 'pino'
import { RegistryError } from '../lib/errors.ts'
import type { Metrics } from '../observability/metrics.ts'
import { createCredentialMemory } from './credential-memory.ts'
import { createFailureCounter } from './failure-counter.ts'
import { createVerifierPool, type Login } from './verifier-pool.ts'

/** Checks passwords for all authenticators of a server, in this process or in its workers. */
export type PasswordVerifier = AsyncDisposable & {
  /**
   * True when the password matches the hash. Of equal claims only the first costs a verification,
   * while it is in progress and, if it was right, for minutes after. After a wrong one the next logins of
   * this client, as this user or another, wait behind those of others.
   * @throws RegistryError TOOMANYREQUESTS when too many wait and this one would be served last
   * @throws RegistryError UNAVAILABLE when closed meanwhile
   */
  verify(login: Login): Promise<boolean>
}

type VerifierOptions = {
  log: Logger
  metrics?: Metrics
  /** Starts a verification thread, the one of this folder by default. */
  startWorker?: () => Worker
}

/** A verifier with threads, a waiting line and a memory of its own. */
export function createPasswordVerifier({
  log,
  metrics,
  startWorker,
}: VerifierOptions): PasswordVerifier {
  const failures = createFailureCounter()
  const pool = createVerifierPool({
    log,
    suspicion: failures.of,
    ...(startWorker !== undefined && { startWorker }),
  })
  const memory = createCredentialMemory()
  metrics?.readGauge('waitingVerifications', () => pool.waiting)

  const verify = async (login: Login): Promise<boolean> => {
    try {
      const isRight = await pool.verify(login)
      metrics?.observeVerification(isRight ? 'right' : 'wrong')
      return isRight
    } catch (error) {
      const isRefused = error instanceof RegistryError && error.code === 'TOOMANYREQUESTS'
      metrics?.observeVerification(isRefused ? 'refused' : 'failed')
      throw error
    }
  }

  return {
    async verify(login) {
      const isRight = await memory.check(login, () => verify(login))
      if (!isRight && !login.isCounted) failures.failed(login)
      return isRight
    },
    [Symbol.asyncDispose]: () => pool[Symbol.asyncDispose](),
  }
}

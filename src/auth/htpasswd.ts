import type { Worker } from 'node:worker_threads'
import type { Logger } from 'pino'
import { RegistryError } from '../lib/errors.ts'
import type { Authenticator, AuthRequest, Principal } from './authenticator.ts'
import {
  type BasicCredentials,
  basicChallenge,
  parseBasicCredentials,
} from './basic-credentials.ts'
import { createCredentialMemory } from './credential-memory.ts'
import { passwordProblem, printableName, userNameProblem } from './credential-rules.ts'
import { createFailureCounter } from './failure-counter.ts'
import { openHtpasswdUsers } from './htpasswd-users.ts'
import { createVerifierPool } from './verifier-pool.ts'

type HtpasswdOptions = {
  /** The htpasswd file; looked at every `watchIntervalMs` (2,000) for changes. */
  path: string
  /** Shown by clients that prompt for a password. */
  realm: string
  log: Logger
  watchIntervalMs?: number
  /** Starts a verification thread, the one of this folder by default. */
  startWorker?: () => Worker
}

/**
 * An authenticator over an htpasswd file: everybody must log in with Basic credentials.
 *
 * A stranger costs the same verification as a known user with a wrong password, and both get the
 * same answer, so that neither time nor text tells which users exist.
 * @throws StartupError when the file cannot be read or nobody could log in with it
 */
export async function openHtpasswdAuthenticator({
  path,
  realm,
  log,
  watchIntervalMs,
  startWorker,
}: HtpasswdOptions): Promise<Authenticator> {
  const users = await openHtpasswdUsers({
    path,
    log,
    ...(watchIntervalMs !== undefined && { watchIntervalMs }),
  })
  const failures = createFailureCounter()
  const pool = createVerifierPool({
    log,
    suspicion: failures.of,
    ...(startWorker !== undefined && { startWorker }),
  })
  const memory = createCredentialMemory()
  const challenge = basicChallenge(realm)
  const unauthorized = (): RegistryError =>
    new RegistryError('UNAUTHORIZED', undefined, { headers: { 'www-authenticate': challenge } })

  const isRight = async (
    { user, password }: BasicCredentials,
    client: string,
  ): Promise<boolean> => {
    const stored = users.hashOf(user)
    const verify = async (): Promise<boolean> => {
      const hash = stored ?? users.prevailingHash
      const matches = await pool.verify({ user, client, password, hash })
      return matches && stored !== undefined
    }
    // A stranger's claim names no hash, so it can never equal one that was found right.
    const right = await memory.check({ user, password, hash: stored ?? '' }, verify)
    // The file may have changed meanwhile: what it says now decides.
    const isCurrent = users.hashOf(user) === stored
    return isCurrent ? right : isRight({ user, password }, client)
  }

  const authenticate = async (request: AuthRequest): Promise<Principal> => {
    if (request.authorization === undefined) throw unauthorized()
    const credentials = parseBasicCredentials(request.authorization)
    const client = request.clientAddress
    if (credentials !== undefined && isPossible(credentials)) {
      if (await isRight(credentials, client)) return { kind: 'user', name: credentials.user }
      failures.failed({ client, user: credentials.user })
    }
    const user = credentials && printableName(credentials.user)
    log.warn({ user, client }, 'authentication failed')
    throw unauthorized()
  }

  return {
    authenticate,
    async [Symbol.asyncDispose]() {
      await users[Symbol.asyncDispose]()
      await pool[Symbol.asyncDispose]()
    },
  }
}

/** Whether anybody could log in with these; what nobody can use costs no verification. */
function isPossible({ user, password }: BasicCredentials): boolean {
  return userNameProblem(user) === undefined && passwordProblem(password) === undefined
}

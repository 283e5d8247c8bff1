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
import type { PasswordHash } from './password-hash.ts'
import { createVerifierPool, type Login, type VerifierPool } from './verifier-pool.ts'

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
 * A stranger costs a verification of the kind that most users have, and so does, on top of its own,
 * a wrong password for a cheaper hash; all get the same answer. Neither text nor time tells which
 * users exist, except those whose hash costs more than most, or nearly as much.
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

  const isRight = async (credentials: BasicCredentials, client: string): Promise<boolean> => {
    const { user, password } = credentials
    const stored = users.hashOf(user)
    const dummy = users.prevailingHash
    const verify = (): Promise<boolean> =>
      verifyWithoutTelling({ pool, login: { user, client, password }, stored, dummy })
    // A stranger's claim names no hash, so it can never equal one that was found right.
    const right = await memory.check({ user, password, hash: stored?.text ?? '' }, verify)
    // The file may have changed meanwhile: what it says now decides.
    const isCurrent = users.hashOf(user)?.text === stored?.text
    return isCurrent ? right : isRight(credentials, client)
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

type Question = {
  pool: VerifierPool
  login: Omit<Login, 'hash'>
  stored: PasswordHash | undefined
  dummy: PasswordHash
}

/** Whether the password matches `stored`; a no costs what it costs for a stranger, or more. */
async function verifyWithoutTelling({ pool, login, stored, dummy }: Question): Promise<boolean> {
  if (stored === undefined) {
    await pool.verify({ ...login, hash: dummy.text })
    return false
  }
  if (await pool.verify({ ...login, hash: stored.text })) return true
  if (stored.estimatedMs < dummy.estimatedMs) {
    // If there is no room for it, the answer is known all the same, and is to be counted and logged.
    await pool.verify({ ...login, hash: dummy.text }).catch(() => false)
  }
  return false
}

/** Whether anybody could log in with these; what nobody can use costs no verification. */
function isPossible({ user, password }: BasicCredentials): boolean {
  return userNameProblem(user) === undefined && passwordProblem(password) === undefined
}

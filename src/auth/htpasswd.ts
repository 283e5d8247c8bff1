import type { Logger } from 'pino'
import { RegistryError } from '../lib/errors.ts'
import type { Authenticator, Principal } from './authenticator.ts'
import {
  type BasicCredentials,
  basicChallenge,
  parseBasicCredentials,
} from './basic-credentials.ts'
import { passwordProblem, printableName, userNameProblem } from './credential-rules.ts'
import { openHtpasswdUsers } from './htpasswd-users.ts'
import { createLoginMemory } from './login-memory.ts'
import type { PasswordHash } from './password-hash.ts'
import type { PasswordVerifier } from './password-verifier.ts'
import type { Login } from './verifier-pool.ts'

type HtpasswdOptions = {
  /** The htpasswd file; looked at every `watchIntervalMs` (2,000) for changes. */
  path: string
  /** Shown by clients that prompt for a password. */
  realm: string
  log: Logger
  /** The caller disposes of it, after the authenticator. */
  verifier: PasswordVerifier
  watchIntervalMs?: number
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
  verifier,
  watchIntervalMs,
}: HtpasswdOptions): Promise<Authenticator> {
  const users = await openHtpasswdUsers({
    path,
    log,
    ...(watchIntervalMs !== undefined && { watchIntervalMs }),
  })
  const memory = createLoginMemory()
  const challenge = basicChallenge(realm)
  const unauthorized = (): RegistryError =>
    new RegistryError('UNAUTHORIZED', undefined, { headers: { 'www-authenticate': challenge } })

  /** The stored hash that the password is right for; undefined when it is wrong. */
  const rightHash = async (credentials: BasicCredentials, client: string) => {
    const stored = users.hashOf(credentials.user)
    const login = { ...credentials, client }
    const dummy = users.prevailingHash
    const isRight = await verifyWithoutTelling({ verifier, login, stored, dummy })
    // The file may have changed meanwhile: what it says now decides.
    if (users.hashOf(credentials.user)?.text !== stored?.text) {
      return rightHash(credentials, client)
    }
    return isRight ? stored?.text : undefined
  }

  const remembered = (authorization: string): Principal | undefined => {
    const login = memory.find(authorization)
    if (login === undefined) return undefined
    return users.hashOf(login.principal.name)?.text === login.hash ? login.principal : undefined
  }

  const logIn = async (authorization: string, client: string): Promise<Principal> => {
    const credentials = parseBasicCredentials(authorization)
    if (credentials !== undefined && isPossible(credentials)) {
      const hash = await rightHash(credentials, client)
      if (hash !== undefined) {
        const principal = { kind: 'user', name: credentials.user } as const
        memory.remember(authorization, { principal, hash })
        return principal
      }
    }
    const user = credentials && printableName(credentials.user)
    log.warn({ user, client }, 'authentication failed')
    throw unauthorized()
  }

  return {
    async authenticate({ authorization, clientAddress }) {
      if (authorization === undefined) throw unauthorized()
      return remembered(authorization) ?? (await logIn(authorization, clientAddress))
    },
    [Symbol.asyncDispose]: () => users[Symbol.asyncDispose](),
  }
}

type Question = {
  verifier: PasswordVerifier
  login: Omit<Login, 'hash'>
  stored: PasswordHash | undefined
  dummy: PasswordHash
}

/** Whether the password matches `stored`; a no costs what it costs for a stranger, or more. */
async function verifyWithoutTelling({
  verifier,
  login,
  stored,
  dummy,
}: Question): Promise<boolean> {
  // Nobody's password, lest the verifier remember one that happens to be right: a second try would
  // be quick then, and tell that there is no such user.
  const inVain = { ...login, password: `\u0001${login.password}`, hash: dummy.text }
  if (stored === undefined) {
    await verifier.verify(inVain)
    return false
  }
  if (await verifier.verify({ ...login, hash: stored.text })) return true
  if (stored.estimatedMs < dummy.estimatedMs) {
    // If there is no room for it, the answer is known all the same, and is to be logged.
    await verifier.verify({ ...inVain, isCounted: true }).catch(() => false)
  }
  return false
}

/** Whether anybody could log in with these; what nobody can use costs no verification. */
function isPossible({ user, password }: BasicCredentials): boolean {
  return userNameProblem(user) === undefined && passwordProblem(password) === undefined
}

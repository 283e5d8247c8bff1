import type { Logger } from 'pino'
import { type FileState, readStates, watchFiles } from '../lib/file-watch.ts'
import { StartupError } from '../lib/startup-error.ts'
import type { HtpasswdProblem } from './htpasswd-file.ts'
import {
  type HtpasswdReading,
  interpretHtpasswd,
  lineRemedy,
  type UserSet,
} from './htpasswd-reading.ts'
import type { PasswordHash } from './password-hash.ts'
import { createSecondLook } from './second-look.ts'

export type HtpasswdUsers = AsyncDisposable & {
  /** The stored hash of a user; absent for a stranger. */
  hashOf(user: string): PasswordHash | undefined
  /** A stored hash of the kind and cost that most users have, for equal work on a stranger. */
  readonly prevailingHash: PasswordHash
}

type UsersOptions = {
  path: string
  log: Logger
  watchIntervalMs?: number
}

/**
 * Opens an htpasswd file and follows its changes until disposed. While the file is missing,
 * unreadable or not text, the last users stay. Text without a usable user counts once a second look
 * finds it unchanged, for the first may have met it half written: then nobody can log in, because
 * who removes the last user means it.
 * @throws StartupError when the file cannot be read or nobody could log in with it
 */
export async function openHtpasswdUsers({
  path,
  log,
  watchIntervalMs = 2000,
}: UsersOptions): Promise<HtpasswdUsers> {
  const initial = await readStates([path])
  const first = interpretHtpasswd(path, initial[0])
  if (first.kind !== 'users') {
    throw new StartupError(`auth.htpasswd.path ${path}: ${first.reason}; ${first.remedy}`)
  }
  warnOfProblems(log, path, first.problems)
  const current = createCurrentUsers(first.users, { path, log })
  const secondLook = createSecondLook({
    look: async () => (await readStates([path]))[0],
    intervalMs: watchIntervalMs,
  })

  const onChange = ([state]: readonly FileState[]): void => {
    secondLook.cancel()
    const next = interpretHtpasswd(path, state)
    if (next.kind === 'nobody') secondLook.begin(next.bytes, () => current.take(next))
    else current.take(next)
  }
  const watch = watchFiles([path], initial, { intervalMs: watchIntervalMs, onChange })

  return {
    hashOf: (user) => current.users().hashes.get(user),
    get prevailingHash() {
      return current.users().prevailing
    },
    async [Symbol.asyncDispose]() {
      await watch[Symbol.asyncDispose]()
      secondLook.cancel()
    },
  }
}

type CurrentUsers = {
  users(): UserSet
  /** Puts in force what was read, or keeps what is when it says nothing; tells the log either way. */
  take(reading: HtpasswdReading): void
}

function createCurrentUsers(
  initial: UserSet,
  { path, log }: { path: string; log: Logger },
): CurrentUsers {
  let users = initial
  let lastFailure: string | undefined

  const fail = (reason: string, remedy: string, event: string): void => {
    if (reason !== lastFailure) log.error({ path, reason, remedy }, event)
    lastFailure = reason
  }

  return {
    users: () => users,
    take(reading) {
      if (reading.kind === 'unusable') {
        fail(reading.reason, reading.remedy, 'htpasswd file unusable, keeping the last users')
        return
      }
      if (reading.kind === 'nobody') {
        // Strangers go on to cost what they did.
        users = { hashes: new Map(), prevailing: users.prevailing }
        fail(reading.reason, reading.remedy, 'htpasswd file lets nobody log in any more')
      } else {
        users = reading.users
        const event = lastFailure === undefined ? 'reloaded' : 'recovered'
        lastFailure = undefined
        log.info({ path, users: users.hashes.size }, `htpasswd file ${event}`)
      }
      warnOfProblems(log, path, reading.problems)
    },
  }
}

function warnOfProblems(log: Logger, path: string, problems: readonly HtpasswdProblem[]): void {
  for (const problem of problems) {
    const { line, user, reason } = problem
    log.warn(
      { path, line, user, reason, remedy: lineRemedy(path, problem) },
      'htpasswd line ignored',
    )
  }
}

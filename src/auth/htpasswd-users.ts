import type { Logger } from 'pino'
import { type FileState, readStates, watchFiles } from '../lib/file-watch.ts'
import { StartupError } from '../lib/startup-error.ts'
import { type HtpasswdContent, type HtpasswdProblem, parseHtpasswd } from './htpasswd-file.ts'

export type HtpasswdUsers = AsyncDisposable & {
  /** The stored hash of a user; absent for a stranger. */
  hashOf(user: string): string | undefined
  /** A stored hash of the kind and cost that most users have, for equal work on a stranger. */
  readonly prevailingHash: string
}

type UsersOptions = {
  path: string
  log: Logger
  watchIntervalMs?: number
}

type UserSet = { readonly hashes: ReadonlyMap<string, string>; readonly prevailing: string }

/**
 * Opens an htpasswd file and follows its changes until disposed. While the file is missing,
 * unreadable or without a usable line, the last good users stay.
 * @throws StartupError when the file cannot be read or nobody could log in with it
 */
export async function openHtpasswdUsers({
  path,
  log,
  watchIntervalMs = 2000,
}: UsersOptions): Promise<HtpasswdUsers> {
  const initial = await readStates([path])
  const first = readUsers(initial[0])
  if ('failure' in first) {
    throw new StartupError(
      `auth.htpasswd.path ${path}: ${first.failure}; add a user with: tidegate htpasswd add ${path} USER`,
    )
  }
  let users: UserSet = first.users
  let lastFailure: string | undefined
  warnOfProblems(log, path, first.problems)

  const reload = ([state]: readonly FileState[]): void => {
    const next = readUsers(state)
    if ('failure' in next) {
      if (next.failure !== lastFailure) {
        log.error({ path, reason: next.failure }, 'htpasswd file unusable, keeping the last users')
      }
      lastFailure = next.failure
      return
    }
    users = next.users
    const event = lastFailure === undefined ? 'htpasswd file reloaded' : 'htpasswd file recovered'
    lastFailure = undefined
    log.info({ path, users: users.hashes.size }, event)
    warnOfProblems(log, path, next.problems)
  }
  const watch = watchFiles([path], initial, { intervalMs: watchIntervalMs, onChange: reload })

  return {
    hashOf: (user) => users.hashes.get(user),
    get prevailingHash() {
      return users.prevailing
    },
    [Symbol.asyncDispose]: () => watch[Symbol.asyncDispose](),
  }
}

type Reading =
  | { readonly failure: string }
  | { readonly users: UserSet; readonly problems: readonly HtpasswdProblem[] }

function readUsers(state: FileState | undefined): Reading {
  if (state === undefined || 'error' in state) return { failure: explain(state?.error.code) }
  const { entries, problems } = parseHtpasswd(state.bytes)
  const prevailing = findPrevailing(entries)
  if (prevailing === undefined) return { failure: explainNoUsers(problems) }
  const hashes = new Map(entries.map(({ user, hash }) => [user, hash.text]))
  return { users: { hashes, prevailing }, problems }
}

function findPrevailing(entries: HtpasswdContent['entries']): string | undefined {
  const groups = Map.groupBy(entries, ({ hash }) => `${hash.scheme} ${hash.cost}`)
  const [largest] = [...groups.values()].sort((a, b) => b.length - a.length)
  return largest?.[0]?.hash.text
}

function explain(code: string | undefined): string {
  switch (code) {
    case 'ENOENT':
      return 'there is no such file'
    case 'EACCES':
      return 'this process may not read the file'
    case 'EISDIR':
      return 'this is a folder, not a file'
    default:
      return `the file cannot be read (${code ?? 'unknown error'})`
  }
}

function explainNoUsers([first, ...others]: readonly HtpasswdProblem[]): string {
  if (first === undefined) return 'the file names no user'
  const user = first.user === undefined ? '' : `, user ${first.user}`
  const more = others.length === 0 ? '' : `, and ${others.length} more`
  return `no line of the file can be used (line ${first.line}${user}: ${first.reason}${more})`
}

function warnOfProblems(log: Logger, path: string, problems: readonly HtpasswdProblem[]): void {
  for (const { line, user, reason } of problems) {
    const remedy = `tidegate htpasswd add ${path} ${user ?? 'USER'}`
    log.warn({ path, line, user, reason, remedy }, 'htpasswd line ignored')
  }
}

import { isUtf8 } from 'node:buffer'
import type { FileState } from '../lib/file-watch.ts'
import { htpasswdAddCommand } from './htpasswd-command.ts'
import {
  type HtpasswdContent,
  type HtpasswdProblem,
  isUtf16,
  parseHtpasswd,
} from './htpasswd-file.ts'
import type { PasswordHash } from './password-hash.ts'

/** The users of a file by name; `prevailing` is a hash of the kind and cost that most of them have. */
export type UserSet = {
  readonly hashes: ReadonlyMap<string, PasswordHash>
  readonly prevailing: PasswordHash
}

/**
 * What a look at an htpasswd file found: users; text that lets nobody in, which may be meant or half
 * written; or nothing that says who may log in.
 */
export type HtpasswdReading =
  | {
      readonly kind: 'users'
      readonly users: UserSet
      readonly problems: readonly HtpasswdProblem[]
    }
  | {
      readonly kind: 'nobody'
      readonly bytes: Buffer
      readonly reason: string
      readonly remedy: string
      readonly problems: readonly HtpasswdProblem[]
    }
  | { readonly kind: 'unusable'; readonly reason: string; readonly remedy: string }

/** Makes out what the file at `path` says; never quotes hashes or passwords. */
export function interpretHtpasswd(path: string, state: FileState | undefined): HtpasswdReading {
  if (state === undefined || 'error' in state) {
    return { kind: 'unusable', ...explainError(path, state?.error.code) }
  }
  const { bytes } = state
  const { entries, problems } = parseHtpasswd(bytes)
  const prevailing = findPrevailing(entries)
  if (prevailing !== undefined) {
    const hashes = new Map(entries.map(({ user, hash }) => [user, hash]))
    return { kind: 'users', users: { hashes, prevailing }, problems }
  }
  // A crash may leave zero bytes where text was.
  if (isUtf16(bytes) || !isUtf8(bytes) || bytes.includes(0)) {
    return { kind: 'unusable', reason: 'the file is not UTF-8 text', remedy: 'save it as UTF-8' }
  }
  const reason = explainNobody(problems)
  return { kind: 'nobody', bytes, reason, remedy: addRemedy(path), problems }
}

/** What to do about one line of the file at `path`. */
export function lineRemedy(path: string, { line, user, remedy }: HtpasswdProblem): string {
  if (remedy === 'add') return htpasswdAddCommand(path, user)
  return `${remedy === 'delete' ? 'delete' : 'correct or delete'} line ${line} of ${path}`
}

function findPrevailing(entries: HtpasswdContent['entries']): PasswordHash | undefined {
  const groups = Map.groupBy(entries, ({ hash }) => `${hash.scheme} ${hash.cost}`)
  const [largest] = [...groups.values()].sort((a, b) => b.length - a.length)
  return largest?.[0]?.hash
}

function explainError(path: string, code: string | undefined): { reason: string; remedy: string } {
  switch (code) {
    case 'ENOENT':
      return { reason: 'there is no such file', remedy: addRemedy(path) }
    case 'EACCES': {
      const reader = process.getuid === undefined ? 'this process' : `uid ${process.getuid()}`
      return {
        reason: 'this process may not read the file',
        remedy: `let ${reader} read it and enter its folders`,
      }
    }
    case 'EISDIR':
      return { reason: 'this is a folder, not a file', remedy: 'name the htpasswd file in it' }
    default:
      return {
        reason: `the file cannot be read (${code ?? 'unknown error'})`,
        remedy: 'name a file that can be',
      }
  }
}

function addRemedy(path: string): string {
  return `add a user with: ${htpasswdAddCommand(path)}`
}

function explainNobody([first, ...others]: readonly HtpasswdProblem[]): string {
  if (first === undefined) return 'the file names no user'
  const user = first.user === undefined ? '' : `, user ${first.user}`
  const more = others.length === 0 ? '' : `, and ${others.length} more`
  return `no line of the file can be used (line ${first.line}${user}: ${first.reason}${more})`
}

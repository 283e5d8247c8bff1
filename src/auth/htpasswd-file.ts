import { printableName, userNameProblem } from './credential-rules.ts'
import { type PasswordHash, parsePasswordHash } from './password-hash.ts'

/** A user who can log in. */
type HtpasswdEntry = {
  readonly line: number
  readonly user: string
  readonly hash: PasswordHash
}

/** A line that lets nobody in, and why. `user` is printable, and absent when the line names none. */
export type HtpasswdProblem = {
  readonly line: number
  readonly user?: string
  readonly reason: string
  /** What mends it: a new password for the user, the line's removal, or a look at it. */
  readonly remedy: 'add' | 'delete' | 'correct'
}

export type HtpasswdContent = {
  readonly entries: readonly HtpasswdEntry[]
  readonly problems: readonly HtpasswdProblem[]
}

/** One line: its text without byte order mark, surrounding blanks and line end; where its bytes are. */
export type HtpasswdLine = {
  readonly number: number
  readonly text: string
  readonly start: number
  /** Offset after the last byte before the line end. */
  readonly end: number
}

/**
 * Reads an htpasswd file. A bad line disables only itself; the first line of a name counts, as in
 * Apache and nginx, even when it is a bad one: a user who was locked there stays locked.
 */
export function parseHtpasswd(bytes: Buffer): HtpasswdContent {
  if (isUtf16(bytes)) {
    const problem = { line: 1, reason: 'the file is UTF-16, not UTF-8', remedy: 'correct' } as const
    return { entries: [], problems: [problem] }
  }
  const entries: HtpasswdEntry[] = []
  const problems: HtpasswdProblem[] = []
  const firstLines = new Map<string, number>()
  for (const line of splitHtpasswdLines(bytes)) {
    if (line.text === '' || line.text.startsWith('#')) continue
    const user = userOfLine(line)
    const first = user === undefined ? undefined : firstLines.get(user)
    if (user !== undefined && first === undefined) firstLines.set(user, line.number)
    const outcome = first === undefined ? readLine(line, user) : duplicateOf(first)
    if ('problem' in outcome) problems.push(describeProblem(line, user, outcome))
    else entries.push({ line: line.number, ...outcome })
  }
  return { entries, problems }
}

/** Every line of an htpasswd file, with comments and blank lines. */
export function splitHtpasswdLines(bytes: Buffer): HtpasswdLine[] {
  const lines: HtpasswdLine[] = []
  let start = bytes.indexOf(byteOrderMark) === 0 ? byteOrderMark.length : 0
  while (start < bytes.length) {
    const newline = bytes.indexOf('\n', start)
    const next = newline < 0 ? bytes.length : newline + 1
    let end = newline < 0 ? bytes.length : newline
    if (end > start && bytes[end - 1] === 0x0d) end--
    const text = bytes.toString('utf8', start, end).replace(/^[ \t\r\v\f]+|[ \t\r\v\f]+$/g, '')
    lines.push({ number: lines.length + 1, text, start, end })
    start = next
  }
  return lines
}

/** The user a line is about, or undefined for a comment or a line without a colon. */
export function userOfLine({ text }: HtpasswdLine): string | undefined {
  const colon = text.indexOf(':')
  return text.startsWith('#') || colon < 0 ? undefined : text.slice(0, colon)
}

/** True for what PowerShell's `>` writes. */
export function isUtf16(bytes: Buffer): boolean {
  const mark = bytes.toString('hex', 0, 2)
  return mark === 'fffe' || mark === 'feff'
}

const byteOrderMark = Buffer.from('\ufeff')

type Failure = { readonly problem: string; readonly remedy: HtpasswdProblem['remedy'] }

type Outcome = { readonly user: string; readonly hash: PasswordHash } | Failure

function readLine({ text }: HtpasswdLine, user: string | undefined): Outcome {
  if (user === undefined) {
    return { problem: 'there is no colon after the user name', remedy: 'correct' }
  }
  if (text.includes('\ufffd')) return { problem: 'the line is not UTF-8', remedy: 'correct' }
  const nameProblem = userNameProblem(user)
  if (nameProblem !== undefined) {
    return { problem: `the user name ${nameProblem}`, remedy: 'correct' }
  }
  // A third field is a comment, to Apache and nginx as to us.
  const [, stored = ''] = text.split(':', 2)
  const hash = parsePasswordHash(stored.trim())
  return 'problem' in hash ? { ...hash, remedy: 'add' } : { user, hash }
}

function duplicateOf(first: number): Failure {
  const problem = `the user is already on line ${first}, and the first line counts`
  return { problem, remedy: 'delete' }
}

function describeProblem(
  { number }: HtpasswdLine,
  user: string | undefined,
  { problem: reason, remedy }: Failure,
): HtpasswdProblem {
  // With the fields swapped, what stands in the user's place is a hash: not for logs.
  if (user === undefined || user === '' || /^[${]/.test(user)) {
    return { line: number, reason, remedy: remedy === 'add' ? 'correct' : remedy }
  }
  const name = printableName(user)
  // A name that had to be altered to be shown cannot be typed from there.
  const isTypable = remedy !== 'add' || name === user
  return { line: number, user: name, reason, remedy: isTypable ? remedy : 'correct' }
}

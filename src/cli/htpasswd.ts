import type { Command } from 'commander'
import { passwordProblem, printableName, userNameProblem } from '../auth/credential-rules.ts'
import { htpasswdAddCommand } from '../auth/htpasswd-command.ts'
import { readHtpasswd, withoutUser, withUser } from '../auth/htpasswd-edit.ts'
import { parseHtpasswd } from '../auth/htpasswd-file.ts'
import { hashPassword, verifyPassword } from '../auth/password-hash.ts'
import { replaceFile } from '../lib/replace-file.ts'
import { StartupError } from '../lib/startup-error.ts'
import { readPassword } from './password-input.ts'

/** bcrypt reads no further: a longer password would be right with any ending. */
const maxBcryptBytes = 72

/** What shells report for a command that Ctrl-C ended. */
const interruptedExitCode = 130

/**
 * Creates the user or replaces the password, with a bcrypt hash; every other byte of the file stays.
 * A missing file is created. @throws StartupError on a name or password that nobody could log in
 * with, and when the file cannot be replaced
 */
export async function addUser(
  file: string,
  user: string,
  password: string,
): Promise<{ readonly replaced: boolean }> {
  requireUserName(user)
  requireNewPassword(password)
  const before = (await readHtpasswd(file)) ?? Buffer.alloc(0)
  const replaced = before.length !== withoutUser(before, user).length
  await replaceFile(file, withUser(before, user, hashPassword(password)))
  return { replaced }
}

/**
 * Removes every line of the user; `removed` is false when there was none, `usersLeft` counts those
 * who can still log in.
 * @throws StartupError when the file is missing or cannot be replaced
 */
export async function removeUser(
  file: string,
  user: string,
): Promise<{ readonly removed: boolean; readonly usersLeft: number }> {
  const before = await readExisting(file)
  const after = withoutUser(before, user)
  const removed = after.length !== before.length
  if (removed) await replaceFile(file, after)
  return { removed, usersLeft: parseHtpasswd(after).entries.length }
}

export type VerifyOutcome =
  | { readonly kind: 'right' | 'wrong' | 'absent' }
  | { readonly kind: 'unusable'; readonly reason: string }

/**
 * Whether this user could log in with this password, and if not, why.
 * @throws StartupError when the file is missing or cannot be read
 */
export async function verifyUser(
  file: string,
  user: string,
  password: string,
): Promise<VerifyOutcome> {
  const { entries, problems } = parseHtpasswd(await readExisting(file))
  const entry = entries.find((candidate) => candidate.user === user)
  if (entry !== undefined) {
    const isRight =
      passwordProblem(password) === undefined && verifyPassword(password, entry.hash.text)
    return { kind: isRight ? 'right' : 'wrong' }
  }
  const problem = problems.find((candidate) => candidate.user === printableName(user))
  if (problem === undefined) return { kind: 'absent' }
  return { kind: 'unusable', reason: `line ${problem.line}: ${problem.reason}` }
}

/** A line of the file that is meant to let somebody in; `problem` says why it does not. */
export type ListedUser = {
  readonly line: number
  readonly user: string | undefined
} & ({ readonly scheme: string; readonly cost: number } | { readonly problem: string })

/**
 * The users of the file and its unusable lines, in the order of the file.
 * @throws StartupError when the file is missing or cannot be read
 */
export async function listUsers(file: string): Promise<readonly ListedUser[]> {
  const { entries, problems } = parseHtpasswd(await readExisting(file))
  const usable = entries.map(({ line, user, hash: { scheme, cost } }) => ({
    line,
    user: printableName(user),
    scheme,
    cost,
  }))
  const unusable = problems.map(({ line, user, reason }) => ({ line, user, problem: reason }))
  return [...usable, ...unusable].sort((a, b) => a.line - b.line)
}

/** Adds `htpasswd add|remove|verify|list` to the command line. */
export function registerHtpasswdCommands(program: Command): void {
  const htpasswd = program
    .command('htpasswd')
    .summary('manage the users who may log in')
    .description(
      'Manage the users in an htpasswd file. Passwords are asked for on a terminal, or read as one ' +
        'line from standard input. A running server takes up changes within seconds.',
    )
    .addHelpText(
      'after',
      '\nExamples:\n' +
        '  $ tidegate htpasswd add conf/htpasswd alice\n' +
        '  $ tidegate htpasswd add conf/htpasswd ci < password.txt\n' +
        '  $ tidegate htpasswd list conf/htpasswd',
    )
  // Who reads no further, as `head`, wants no more: not a failure.
  htpasswd.hook('preAction', () => {
    process.stdout.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error
    })
  })
  htpasswd
    .command('add')
    .description('add a user, or give one a new password (bcrypt); creates the file when missing')
    .argument('<file>', 'the htpasswd file')
    .argument('<user>', 'the name to log in with')
    .action(runAdd)
  htpasswd
    .command('remove')
    .description('remove a user; exits with 1 when there is no such user')
    .argument('<file>', 'the htpasswd file')
    .argument('<user>', 'the name to remove')
    .action(runRemove)
  htpasswd
    .command('verify')
    .description('check a password; exits with 1 when it would not let the user in')
    .argument('<file>', 'the htpasswd file')
    .argument('<user>', 'the name to log in with')
    .action(runVerify)
  htpasswd
    .command('list')
    .description('list the users, and the lines that cannot be used and why')
    .argument('<file>', 'the htpasswd file')
    .action(runList)
}

async function runAdd(file: string, user: string): Promise<void> {
  requireUserName(user)
  const password = await askPassword(true)
  if (password === undefined) return
  const { replaced } = await addUser(file, user, password)
  print(replaced ? `new password for ${user} in ${file}` : `user ${user} added to ${file}`)
}

async function runRemove(file: string, user: string): Promise<void> {
  const { removed, usersLeft } = await removeUser(file, user)
  report(removed, removed ? `user ${user} removed from ${file}` : `no user ${user} in ${file}`)
  if (usersLeft > 0) return
  process.stderr.write(
    `warning: nobody can log in with ${file} any more, and Tidegate does not start with it\n`,
  )
}

async function runVerify(file: string, user: string): Promise<void> {
  const password = await askPassword(false)
  if (password === undefined) return
  const outcome = await verifyUser(file, user, password)
  const messages = {
    right: `the password of ${user} is right`,
    wrong: `the password of ${user} is wrong`,
    absent: `no user ${user} in ${file}`,
    unusable: `${user} cannot log in: ${'reason' in outcome ? outcome.reason : ''}`,
  }
  report(outcome.kind === 'right', messages[outcome.kind])
}

async function runList(file: string): Promise<void> {
  const users = await listUsers(file)
  print(users.length === 0 ? `no users in ${file}` : users.map(describeListed).join('\n'))
}

function describeListed(entry: ListedUser): string {
  const name = entry.user ?? `(line ${entry.line})`
  return 'problem' in entry
    ? `${name}\tcannot log in, line ${entry.line}: ${entry.problem}`
    : `${name}\t${entry.scheme}${entry.cost > 1 ? `, cost ${entry.cost}` : ''}`
}

/** The password, or undefined after Ctrl-C, with the exit code set. */
async function askPassword(confirm: boolean): Promise<string | undefined> {
  const password = await readPassword({ input: process.stdin, output: process.stderr, confirm })
  if (password === undefined) process.exitCode = interruptedExitCode
  return password
}

function print(line: string): void {
  process.stdout.write(`${line}\n`)
}

function report(isGood: boolean, line: string): void {
  ;(isGood ? process.stdout : process.stderr).write(`${line}\n`)
  if (!isGood) process.exitCode = 1
}

async function readExisting(file: string): Promise<Buffer> {
  const bytes = await readHtpasswd(file)
  if (bytes !== undefined) return bytes
  throw new StartupError(
    `${file}: there is no such file; create it with: ${htpasswdAddCommand(file)}`,
  )
}

function requireUserName(user: string): void {
  const problem = nameProblem(user)
  if (problem === undefined) return
  throw new StartupError(`the user name "${printableName(user)}" ${problem}; choose another`)
}

/** A name must also survive the file: no comment sign in front, no blanks that readers trim. */
function nameProblem(user: string): string | undefined {
  if (user.startsWith('#')) return 'starts with #, which makes the line a comment'
  if (user !== user.trim()) return 'starts or ends with a blank'
  return userNameProblem(user)
}

function requireNewPassword(password: string): void {
  const bytes = Buffer.byteLength(password)
  const problem =
    bytes > maxBcryptBytes
      ? `has ${bytes} bytes, and bcrypt reads only the first ${maxBcryptBytes}`
      : passwordProblem(password)
  if (problem !== undefined) throw new StartupError(`the password ${problem}; choose another`)
}

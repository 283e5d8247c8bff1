import { randomUUID } from 'node:crypto'
import { lstat, open, readFile, realpath, rename, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { StartupError } from '../lib/startup-error.ts'
import { isUtf16, splitHtpasswdLines, userOfLine } from './htpasswd-file.ts'

/**
 * The file with `user:hash` in place of the user's first line, or after the last line. Later lines
 * of the user go: they never counted.
 */
export function withUser(bytes: Buffer, user: string, hash: string): Buffer {
  const entry = Buffer.from(`${user}:${hash}`)
  const line = splitHtpasswdLines(bytes).find((candidate) => userOfLine(candidate) === user)
  if (line !== undefined) {
    const rest = withoutUser(bytes.subarray(line.end), user)
    return Buffer.concat([bytes.subarray(0, line.start), entry, rest])
  }
  const lineEnd = Buffer.from(bytes.includes('\r\n') ? '\r\n' : '\n')
  const isEnded = bytes.length === 0 || bytes.at(-1) === 0x0a
  return Buffer.concat([bytes, isEnded ? Buffer.alloc(0) : lineEnd, entry, lineEnd])
}

/** The file without any line of the user: a duplicate left behind would come into force. */
export function withoutUser(bytes: Buffer, user: string): Buffer {
  const lines = splitHtpasswdLines(bytes)
  const head = bytes.subarray(0, lines[0]?.start ?? bytes.length)
  const kept = lines
    .map((line, index) => ({ line, next: lines[index + 1]?.start ?? bytes.length }))
    .filter(({ line }) => userOfLine(line) !== user)
    .map(({ line, next }) => bytes.subarray(line.start, next))
  return Buffer.concat([head, ...kept])
}

/**
 * The bytes of an htpasswd file, or undefined when there is none.
 * @throws StartupError when it cannot be read, or is text that cannot be edited
 */
export async function readHtpasswd(path: string): Promise<Buffer | undefined> {
  const bytes = await readFile(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw new StartupError(`${path}: ${describe(error)}`, { cause: error })
  })
  if (bytes !== undefined && isUtf16(bytes)) {
    throw new StartupError(`${path}: the file is UTF-16; save it as UTF-8 first`)
  }
  return bytes
}

/**
 * Replaces a file in one step, so that no reader ever meets half of it. Follows a symbolic link,
 * keeps mode and owner; a new file is readable by its owner only.
 * @throws StartupError when the folder does not allow it
 */
export async function replaceHtpasswd(path: string, bytes: Buffer): Promise<void> {
  try {
    const target = await resolveTarget(path)
    const before = await stat(target).catch(ignoreAbsence)
    const temp = `${target}.${randomUUID()}.tmp`
    try {
      await writeDurably(temp, bytes, before)
      await rename(temp, target)
    } finally {
      await rm(temp, { force: true })
    }
    await using folder = await open(dirname(target))
    await folder.sync()
  } catch (cause) {
    if (cause instanceof StartupError) throw cause
    throw new StartupError(`${path}: ${describe(cause)}`, { cause })
  }
}

type Ownership = { readonly mode: number; readonly uid: number; readonly gid: number }

async function writeDurably(
  path: string,
  bytes: Buffer,
  like: Ownership | undefined,
): Promise<void> {
  await using file = await open(path, 'wx', 0o600)
  await file.writeFile(bytes)
  if (like !== undefined) {
    // Only root may give files away; anybody else keeps the file they could replace anyway.
    await file.chown(like.uid, like.gid).catch(ignorePermission)
    await file.chmod(like.mode & 0o7777)
  }
  await file.sync()
}

async function resolveTarget(path: string): Promise<string> {
  const target = await realpath(path).catch(ignoreAbsence)
  if (target !== undefined) return target
  const link = await lstat(path).catch(ignoreAbsence)
  if (link === undefined) return path
  throw new StartupError(
    `${path}: the symbolic link points nowhere; create its target or remove it`,
  )
}

function ignoreAbsence(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error
}

function ignorePermission(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EPERM') throw error
}

/** What went wrong and what to do, for the failures that people meet. */
function describe(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  switch (code) {
    case 'ENOENT':
      return 'the folder does not exist; create it first'
    case 'EACCES':
    case 'EPERM':
      return 'permission denied; run as the owner of the file and its folder'
    case 'EISDIR':
      return 'this is a folder; name a file in it'
    case 'EROFS':
      return 'the file system is read-only; edit the file where it is writable'
    case 'EBUSY':
      return 'a single file mounted into a container cannot be replaced; mount its folder instead'
    default:
      return error instanceof Error ? error.message : String(error)
  }
}

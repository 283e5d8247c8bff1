import { readFile } from 'node:fs/promises'
import { describeReadProblem } from '../lib/file-problem.ts'
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
    throw new StartupError(`${path} ${describeReadProblem(error)}`, { cause: error })
  })
  if (bytes !== undefined && isUtf16(bytes)) {
    throw new StartupError(`${path}: the file is UTF-16; save it as UTF-8 first`)
  }
  return bytes
}

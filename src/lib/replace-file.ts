import { randomUUID } from 'node:crypto'
import { lstat, open, realpath, rename, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { describeWriteProblem } from './file-problem.ts'
import { StartupError } from './startup-error.ts'

type ReplaceOptions = {
  /** Permissions, whatever the umask; without it those of the file before, or 0600 for a new one. */
  readonly mode?: number
}

/**
 * Writes a small file so that every reader meets the old or the new one whole, and the new one
 * outlasts a power failure: temporary file → fsync → rename → fsync of the folder. A symbolic link
 * is followed, and the owner of the file before is kept where that is permitted.
 * @throws StartupError that begins with `path`
 */
export async function replaceFile(
  path: string,
  contents: string | Uint8Array,
  { mode }: ReplaceOptions = {},
): Promise<void> {
  try {
    const target = await resolveTarget(path)
    const before = await stat(target).catch(ignoreAbsence)
    // A name of its own, opened exclusively: two writers never mix, and nothing planted is followed.
    const temporary = `${target}.${randomUUID()}.tmp`
    try {
      await writeDurably(temporary, contents, { ...before, ...(mode !== undefined && { mode }) })
      await rename(temporary, target)
    } finally {
      await rm(temporary, { force: true })
    }
    await using folder = await open(dirname(target))
    await folder.sync()
  } catch (cause) {
    if (cause instanceof StartupError) throw cause
    throw new StartupError(`${path} ${describeWriteProblem(cause)}`, { cause })
  }
}

type Attributes = { readonly mode?: number; readonly uid?: number; readonly gid?: number }

async function writeDurably(
  path: string,
  contents: string | Uint8Array,
  { mode = 0o600, uid, gid }: Attributes,
): Promise<void> {
  await using file = await open(path, 'wx', 0o600)
  await file.writeFile(contents)
  if (uid !== undefined && gid !== undefined) {
    // Only root may give files away; anybody else keeps the file they could replace anyway.
    await file.chown(uid, gid).catch(ignorePermission)
  }
  await file.chmod(mode & 0o7777)
  await file.sync()
}

async function resolveTarget(path: string): Promise<string> {
  const target = await realpath(path).catch(ignoreAbsence)
  if (target !== undefined) return target
  const link = await lstat(path).catch(ignoreAbsence)
  if (link === undefined) return path
  throw new StartupError(`${path} is a symbolic link to nowhere; create its target or remove it`)
}

function ignoreAbsence(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error
}

function ignorePermission(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EPERM') throw error
}

/**
 * Why a file could not be read and what to do, to be put after its path: `does not exist; …`.
 * `error` is what a function of node:fs threw.
 */
export function describeReadProblem(error: unknown): string {
  const code = errorCode(error)
  switch (code) {
    case 'ENOENT':
    case 'ENOTDIR':
      return 'does not exist; check the path, or the mount that should bring it'
    case 'EACCES':
    case 'EPERM':
      return `cannot be read by the user Tidegate runs as (${userId()}); change its owner or mode, or those of its folders`
    case 'EISDIR':
      return 'is a folder, not a file (Docker makes one when the host side of a mount does not exist)'
    case 'ELOOP':
      return 'is a symbolic link that leads in a circle; remove it'
    default:
      return `cannot be read (${code})`
  }
}

/** The same for a file or folder that could not be made or replaced: `cannot be written: …`. */
export function describeWriteProblem(error: unknown): string {
  const code = errorCode(error)
  switch (code) {
    case 'ENOENT':
      return 'cannot be written: its folder does not exist; create it first'
    case 'ENOTDIR':
    case 'EEXIST':
      return 'cannot be written: a file is in the way; move it, or choose another path'
    case 'EACCES':
    case 'EPERM':
      return `cannot be written by the user Tidegate runs as (${userId()}); change the owner or mode of its folder`
    case 'EISDIR':
      return 'is a folder; name a file in it'
    case 'EROFS':
      return 'cannot be written: the file system is read-only; choose a path on another'
    case 'EBUSY':
      return 'cannot be replaced, as a single file that is mounted into a container; mount its folder instead'
    case 'ENOSPC':
    case 'EDQUOT':
      return 'cannot be written: no space is left'
    default:
      return `cannot be written (${code}); check the owner, mode and free space of its folder`
  }
}

function errorCode(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return 'code' in error && typeof error.code === 'string' ? error.code : error.message
}

function userId(): string {
  return `uid ${process.getuid?.() ?? 'unknown'}`
}

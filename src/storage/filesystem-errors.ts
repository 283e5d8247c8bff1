import { RegistryError } from '../lib/errors.ts'

/** The system's name of an error, such as `ENOENT`; undefined for an error that is not the system's. */
export function errorCode(error: unknown): string | undefined {
  if (!(error instanceof Error && 'code' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}

/** What the system says when nothing of a name is there, or could be; ELOOP is a link to itself. */
const absences: readonly unknown[] = ['ENOENT', 'ENOTDIR', 'ENAMETOOLONG', 'ELOOP']

/** True if a lookup failed because nothing is there. */
export function isAbsence(error: unknown): boolean {
  return absences.includes(errorCode(error))
}

/** What `lookup` resolves with; undefined if nothing is there. */
export async function ifPresent<T>(lookup: Promise<T>): Promise<T | undefined> {
  try {
    return await lookup
  } catch (error) {
    if (isAbsence(error)) return undefined
    throw error
  }
}

/** True if something failed because there is no room, or no quota left. */
export function isFull(error: unknown): boolean {
  return ['ENOSPC', 'EDQUOT'].includes(errorCode(error) ?? '')
}

const unwritable = 'the storage of the registry cannot be written'
const tooManyFiles = 'the registry has too many files open'
/** Refusals that are no fault of the request and may pass, and what clients are told of them. */
const refusals: ReadonlyMap<string | undefined, string> = new Map([
  ['EROFS', unwritable],
  ['EACCES', unwritable],
  ['EPERM', unwritable],
  ['EMFILE', tooManyFiles],
  ['ENFILE', tooManyFiles],
])

/**
 * What `change` resolves with.
 * @throws STORAGE_FULL when it ran out of space or quota, UNAVAILABLE when the system lets nobody write
 */
export async function withRoom<T>(change: Promise<T>): Promise<T> {
  try {
    return await change
  } catch (cause) {
    if (isFull(cause)) throw new RegistryError('STORAGE_FULL', undefined, { cause })
    const reason = refusals.get(errorCode(cause))
    if (reason !== undefined) throw new RegistryError('UNAVAILABLE', { reason }, { cause })
    throw cause
  }
}

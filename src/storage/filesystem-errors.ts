import { RegistryError } from '../lib/errors.ts'

/** The system's name of an error, such as `ENOENT`; undefined for an error that is not the system's. */
export function errorCode(error: unknown): string | undefined {
  if (!(error instanceof Error && 'code' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}

/** True if a lookup failed because nothing of that name is there, or could be. */
export function isAbsence(error: unknown): boolean {
  const code = errorCode(error)
  return code === 'ENOENT' || code === 'ENOTDIR' || code === 'ENAMETOOLONG'
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

/** What `change` resolves with. @throws STORAGE_FULL when it ran out of space or quota */
export async function withRoom<T>(change: Promise<T>): Promise<T> {
  try {
    return await change
  } catch (cause) {
    const code = errorCode(cause)
    if (code === 'ENOSPC' || code === 'EDQUOT')
      throw new RegistryError('STORAGE_FULL', undefined, { cause })
    throw cause
  }
}

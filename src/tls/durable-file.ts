import { open, rename } from 'node:fs/promises'
import { dirname } from 'node:path'
import { StartupError } from '../lib/startup-error.ts'

/**
 * Writes a small file so that it is there whole or not at all, and stays after a power failure:
 * temporary file → fsync → rename → fsync of the folder. The temporary name is fixed, so that what
 * a crash leaves is overwritten by the next try instead of piling up.
 * @throws StartupError when the folder or the file cannot be written
 */
export async function writeFileDurably(path: string, text: string, mode: number): Promise<void> {
  try {
    const temporary = `${path}.tmp`
    {
      await using file = await open(temporary, 'w', mode)
      await file.chmod(mode) // neither the umask nor a leftover decides about a private key
      await file.writeFile(text)
      await file.sync()
    }
    await rename(temporary, path)
    await using folder = await open(dirname(path))
    await folder.sync()
  } catch (cause) {
    const reason = cause instanceof Error && 'code' in cause ? cause.code : cause
    throw new StartupError(
      `${path} cannot be written (${reason}); check the owner, mode and free space of its folder`,
      { cause },
    )
  }
}

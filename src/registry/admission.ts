import { RegistryError } from '../lib/errors.ts'
import type { StorageDriver, StorageSpace } from '../storage/driver.ts'
import { readonlyMark } from '../storage/layout.ts'

/** What the operator lets happen to the store at this moment. */
export type Admission = {
  /** Whether the store must stay as it is. */
  isReadonly(): Promise<boolean>
  /** For manifests, mounts and tags. @throws READ_ONLY */
  write(): Promise<void>
  /** For a new upload session. @throws READ_ONLY, STORAGE_FULL below a low-water mark */
  upload(): Promise<void>
  /** @throws DELETE_DISABLED, READ_ONLY */
  delete(): Promise<void>
}

export type AdmissionOptions = {
  readonly readonly: boolean
  readonly deleteEnabled: boolean
  /** Free space below which no upload begins, of the total number of bytes. */
  readonly minFree: (totalBytes: number) => number
}

/**
 * Free files below which no upload begins, or this share of all if that is less. What is under way
 * takes about ten for each blob, and a collection needs one to make room: so this is no setting.
 */
const minFreeFiles = 1_000
const minFreeFileShare = 0.01

/**
 * Decides by the configuration and by what is in the folder: `tidegate readonly on` leaves a mark there,
 * which every process obeys at once. What has begun may finish, so uploads in progress do not ask.
 */
export function createAdmission(
  driver: StorageDriver,
  { readonly, deleteEnabled, minFree }: AdmissionOptions,
): Admission {
  const isReadonly = async (): Promise<boolean> =>
    readonly || (await driver.stat(readonlyMark)) !== undefined
  const write = async (): Promise<void> => {
    if (await isReadonly()) throw new RegistryError('READ_ONLY')
  }
  return {
    isReadonly,
    write,
    async upload() {
      await write()
      const { free, total, files } = await driver.space()
      if (free < minFree(total)) throw new RegistryError('STORAGE_FULL', { freeBytes: free })
      if (files !== undefined && areFew(files))
        throw new RegistryError('STORAGE_FULL', { freeFiles: files.free })
    },
    async delete() {
      if (!deleteEnabled) throw new RegistryError('DELETE_DISABLED')
      await write()
    },
  }
}

function areFew({ free, total }: NonNullable<StorageSpace['files']>): boolean {
  // None at all is also what a file system says that knows only how many it has; if it is true, the
  // first file that is to be made tells.
  return free > 0 && free < Math.min(minFreeFiles, total * minFreeFileShare)
}

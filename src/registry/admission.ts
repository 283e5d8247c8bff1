import { RegistryError } from '../lib/errors.ts'
import type { StorageDriver } from '../storage/driver.ts'
import { readonlyMark } from '../storage/layout.ts'

/** What the operator lets happen to the store at this moment. */
export type Admission = {
  /** Whether the store must stay as it is. */
  isReadonly(): Promise<boolean>
  /** For manifests, mounts and tags. @throws READ_ONLY */
  write(): Promise<void>
  /** For a new upload session. @throws READ_ONLY, STORAGE_FULL below the low-water mark */
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
      const { free, total } = await driver.space()
      if (free < minFree(total)) throw new RegistryError('STORAGE_FULL', { freeBytes: free })
    },
    async delete() {
      if (!deleteEnabled) throw new RegistryError('DELETE_DISABLED')
      await write()
    },
  }
}

import { RegistryError } from '../lib/errors.ts'
import type { StorageDriver, StoragePath } from '../storage/driver.ts'
import { errorCode } from '../storage/filesystem-errors.ts'

/** Something in the store cannot be read; the message tells where and why. */
export class UnreadableError extends Error {
  override readonly name = 'UnreadableError'
  readonly path: StoragePath
  readonly reason: string
  /** The system's name of it, such as `EIO`. */
  readonly code: string | undefined

  constructor(path: StoragePath, reason: string, options?: ErrorOptions) {
    super(`${path}: ${reason}`, options)
    this.path = path
    this.reason = reason
    this.code = errorCode(options?.cause)
  }
}

/** True for what the system refused, whoever tells it. Faults of ours may have codes, but no call. */
export function isSystemRefusal(error: unknown): boolean {
  if (error instanceof UnreadableError || error instanceof RegistryError) return true
  return error instanceof Error && 'syscall' in error
}

/** A driver that tells what it was that could not be read, which errors of the system leave out. */
export function namingFailures(driver: StorageDriver): StorageDriver {
  return {
    ...driver,
    stat: (path) => naming(path, driver.stat(path)),
    list: (path) => naming(path, driver.list(path)),
    read: (path) => naming(path, driver.read(path)),
    async open(path) {
      const reader = await naming(path, driver.open(path))
      return (
        reader && {
          stat: reader.stat,
          read: (buffer, position) => naming(path, reader.read(buffer, position)),
          [Symbol.asyncDispose]: () => reader[Symbol.asyncDispose](),
        }
      )
    },
  }
}

async function naming<T>(path: StoragePath, reading: Promise<T>): Promise<T> {
  try {
    return await reading
  } catch (cause) {
    // A fault of ours, which is nothing about the store.
    if (cause instanceof TypeError) throw cause
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new UnreadableError(path, reason, { cause })
  }
}

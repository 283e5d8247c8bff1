import { RegistryError } from '../lib/errors.ts'

/**
 * What was asked of another process.
 * @throws RegistryError UNAVAILABLE after `ms` milliseconds, as when that process is gone
 */
export async function within<T>(ms: number, asked: Promise<T>): Promise<T> {
  const { promise: tooLong, reject } = Promise.withResolvers<never>()
  const cause = new Error(`the other process of this server did not answer within ${ms} ms`)
  const timer = setTimeout(() => reject(new RegistryError('UNAVAILABLE', undefined, { cause })), ms)
  try {
    return await Promise.race([asked, tooLong])
  } finally {
    clearTimeout(timer)
  }
}

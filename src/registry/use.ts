import type { StorageDriver, StoragePath } from '../storage/driver.ts'

/** A use this recent need not be noted again. */
const noteAfterMs = 60_000
/** Times of files may lag behind the clock by a tick of the kernel. */
const lagMs = 100

/** True if a use at `usedAt` stands for one at `at`, and was surely noted before it. */
export function isNoted(usedAt: number, at: number): boolean {
  return usedAt < at - lagMs && usedAt > at - noteAfterMs
}

/** Notes that something is used, which a collection sees in the age of links and bytes. */
export async function noteUse(driver: StorageDriver, paths: readonly StoragePath[]): Promise<void> {
  // On a store that cannot be written there is no collection either.
  await Promise.allSettled([...new Set(paths)].map((path) => driver.touch(path)))
}

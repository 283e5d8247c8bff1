import type { ExecutionContext } from 'ava'
import type { StorageDriver } from '../../src/storage/driver.ts'

/** A store for one test. */
export type OpenedStore = AsyncDisposable & {
  readonly driver: StorageDriver
  /** Another driver on the same store, as another process has one. */
  again(): StorageDriver
}

/** What every storage driver must do, by the sentence that says so. */
export type DriverCases = Readonly<
  Record<string, (t: ExecutionContext, store: OpenedStore) => Promise<void>>
>

/** Text of a small file; undefined if there is none. */
export async function readText(driver: StorageDriver, path: string): Promise<string | undefined> {
  return (await driver.read(path))?.content.toString()
}

/** Names in a folder, sorted; undefined if there is none. */
export async function listNames(
  driver: StorageDriver,
  path: string,
): Promise<readonly string[] | undefined> {
  return (await driver.list(path))?.map(({ name }) => name).sort()
}

/** How many of `values` are true, or are there at all. */
export function countSuccesses(values: readonly unknown[]): number {
  return values.filter((value) => value !== false && value !== undefined).length
}

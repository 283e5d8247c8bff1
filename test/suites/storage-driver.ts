import test from 'ava'
import type { DriverCases, OpenedStore } from './storage-driver-case.ts'
import { fileCases } from './storage-driver-files.ts'
import { lookupCases } from './storage-driver-lookups.ts'
import { removalCases } from './storage-driver-removal.ts'
import { writerCases } from './storage-driver-writers.ts'

/**
 * Registers the tests that every storage driver must pass. `openStore` makes a store with nothing in
 * it; the caller disposes of it.
 */
export function testStorageDriver(name: string, openStore: () => Promise<OpenedStore>): void {
  const cases: DriverCases = { ...lookupCases, ...fileCases, ...writerCases, ...removalCases }
  for (const [title, run] of Object.entries(cases)) {
    test(`${name}: ${title}`, async (t) => {
      await using store = await openStore()
      await run(t, store)
    })
  }
}

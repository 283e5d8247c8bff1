import { readdir, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { type CheckReport, checkStore } from '../../src/registry/check/check.ts'
import { openSweep } from '../../src/registry/sweeps.ts'
import { createFilesystemDriver } from '../../src/storage/filesystem.ts'

const version = 'docker/registry/v2'

/** What `fsck` finds, before and after it has mended, two days after everything in the store happened. */
export async function checkLater(
  root: string,
): Promise<{ readonly found: CheckReport['kinds']; readonly left: CheckReport['kinds'] }> {
  await letTimePass(root)
  const driver = createFilesystemDriver({ root })
  const look = async (repair: boolean): Promise<CheckReport['kinds']> => {
    const report = await checkStore({ driver, repair, rehash: true })
    if (report === undefined) throw new Error('a collection is under way')
    return report.kinds
  }
  const found = await look(false)
  await look(true)
  return { found, left: await look(false) }
}

/** Makes everything in a store two days old. */
async function letTimePass(root: string): Promise<void> {
  const past = new Date(Date.now() - 2 * 86_400_000)
  const entries = await readdir(join(root, version), { recursive: true })
  for (const entry of entries) await utimes(join(root, version, entry), past, past)
}

/** Finds killed collections dead, without the patience that one has who cannot be sure. */
export async function buryCollections(root: string): Promise<void> {
  const driver = createFilesystemDriver({ root })
  const sweep = await openSweep(driver, 300)
  if (sweep === undefined) throw new Error('a collection is alive')
  await sweep[Symbol.asyncDispose]()
}

/** Waits until a server has emptied the trash of those killed before it. */
export async function trashEmptied(root: string): Promise<void> {
  const trash = join(root, version, 'tidegate/trash')
  while ((await readdir(trash).catch(() => [])).length > 0) await delay(20)
}

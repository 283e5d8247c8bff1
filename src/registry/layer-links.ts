import type { Digest } from '../lib/digest.ts'
import type { RepoName } from '../lib/names.ts'
import type { StorageDriver, StoragePath, StoredStat } from '../storage/driver.ts'
import { blobData, blobFolder, layer, layerLink } from '../storage/layout.ts'
import { isStorable } from './digester.ts'
import { parseLink, readLink, writeLink } from './links.ts'
import { settleSweeps } from './sweeps.ts'
import { isNoted, noteUse } from './use.ts'

/** A blob that a repository has. */
export type LinkedBlob = {
  /** The digest that its bytes are stored under; another one than asked for behind an alias. */
  readonly target: Digest
  readonly size: number
  /** When it was last used: the older of the times of its links and its bytes. */
  readonly usedAt: number
}

/**
 * Finds a blob of a repository; undefined if it has none, or only a link that is torn or leads nowhere.
 *
 * registry:3 stores a blob that was pushed under sha512 under sha256, and beside that one's link writes
 * another under sha512 which holds the sha256 digest. Such an alias counts as long as the link it leads
 * to does: a delete of the blob under its canonical name removes only that one.
 */
export async function findBlob(
  driver: StorageDriver,
  name: RepoName,
  digest: Digest,
): Promise<LinkedBlob | undefined> {
  if (!isStorable(digest)) return undefined
  const { link, data, target } = await look(driver, name, digest)
  if (target === digest) return data && { target, size: data.size, usedAt: earlier(link, data) }
  // An alias of an alias is nobody's writing.
  if (target === undefined || !isStorable(target)) return undefined
  const canonical = await look(driver, name, target)
  if (canonical.target !== target || canonical.data === undefined) return undefined
  const usedAt = Math.min(earlier(link, canonical.data), earlier(canonical.link, canonical.data))
  return { target, size: canonical.data.size, usedAt }
}

async function look(driver: StorageDriver, name: RepoName, digest: Digest) {
  const [link, data] = await Promise.all([
    driver.read(layerLink(name, digest)),
    driver.stat(blobData(digest)),
  ])
  return { link: link?.stat, data, target: link && parseLink(link.content) }
}

function earlier(link: StoredStat | undefined, data: StoredStat): number {
  return Math.min(link?.modifiedAt ?? 0, data.modifiedAt)
}

/**
 * As `findBlob`, and what is found will not be collected before its grace is over, so that a client may
 * be told that it need not push it.
 *
 * The order that makes this true is: note the use → see that no collection is about to remove it → see
 * that it is there. A collection that announces itself after the second step sees the first. A use that
 * was noted a while ago is a first step too, which saves writes for what is asked for all the time.
 */
export async function promiseBlob(
  driver: StorageDriver,
  name: RepoName,
  digest: Digest,
): Promise<LinkedBlob | undefined> {
  if (!isStorable(digest)) return undefined
  for (let noted: Digest | undefined; ; ) {
    const at = Date.now()
    await settleSweeps(driver, [
      ...sweepable(name, digest),
      ...(noted ? sweepable(name, noted) : []),
    ])
    const blob = await findBlob(driver, name, digest)
    if (blob === undefined || blob.target === noted) return blob
    if (isNoted(blob.usedAt, at) && blob.target === digest) return blob
    noted = blob.target
    await noteUse(driver, [layerLink(name, digest), layerLink(name, noted), blobData(noted)])
  }
}

/** What a collection might remove of a blob in a repository. */
function sweepable(name: RepoName, digest: Digest): readonly StoragePath[] {
  return [blobFolder(digest), layer(name, digest)]
}

/** Waits for a collection that is about to remove the blob, so that it does not meet what comes next. */
export async function awaitSweeps(
  driver: StorageDriver,
  name: RepoName,
  digest: Digest,
): Promise<void> {
  await settleSweeps(driver, sweepable(name, digest))
}

/** Makes a stored blob one of the repository, durably; resolves as `secureLink` does. */
export async function linkBlob(
  driver: StorageDriver,
  name: RepoName,
  digest: Digest,
): Promise<boolean> {
  await writeLink(driver, layerLink(name, digest), digest)
  return await secureLink(driver, name, digest)
}

/**
 * Resolves once no collection can have missed a layer link that was just written; writes it again if
 * one has taken it. False, and no link, if one has removed the bytes.
 */
export async function secureLink(
  driver: StorageDriver,
  name: RepoName,
  digest: Digest,
): Promise<boolean> {
  const isStored = async (): Promise<boolean> => (await driver.stat(blobData(digest))) !== undefined
  for (;;) {
    await awaitSweeps(driver, name, digest)
    const [hasBytes, target] = await Promise.all([
      isStored(),
      readLink(driver, layerLink(name, digest)),
    ])
    if (!hasBytes) break
    if (target === digest) return true
    await writeLink(driver, layerLink(name, digest), digest)
  }
  // Another push of the same blob may have brought the bytes by now, and rely on the link. If it was
  // acknowledged before the link is out of its sight, the bytes are there after that.
  const confirm = async (): Promise<boolean> => !(await isStored())
  await driver.remove(layer(name, digest), { durable: false, confirm })
  return false
}

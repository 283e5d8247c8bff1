import type { Digest } from '../lib/digest.ts'
import { RegistryError } from '../lib/errors.ts'
import type { RepoName } from '../lib/names.ts'
import type { StorageDriver, StoragePath } from '../storage/driver.ts'
import { blobData, layer, layerLink } from '../storage/layout.ts'
import { isStorable } from './digester.ts'
import { awaitSweeps, findBlob, linkBlob, promiseBlob, secureLink } from './layer-links.ts'
import { prepareLink, writeLink } from './links.ts'
import { lost } from './uploads/claim.ts'
import type { Session } from './uploads/session.ts'

export type Commit = {
  readonly name: RepoName
  /** What the bytes were verified to be. */
  readonly digest: Digest
  readonly session: Session
  /** The claimed file, synced and closed. */
  readonly data: StoragePath
}

/*
 * The order of a commit: bytes synced → renamed to their place, durably → link renamed to its place,
 * durably → acknowledged → session removed. The link is written before, under another name: on a disk
 * that becomes full nothing is moved, and the session goes on once there is room. A crash or power
 * loss leaves
 *   before the rename   a session, which goes on where it was, and a link by a name that nobody reads;
 *   before the link     bytes that no repository has, for a collection;
 *   before the removal  a blob, and a session with nothing in it, for the purge.
 * In none is a link without its bytes, nor bytes under a name that is not their digest's.
 *
 * The rename takes the place of what is there already: it is the same, unless an earlier crash or a
 * failing disk has harmed it, which heals here; and its age is that of its last use. Who reads the old
 * file goes on reading it.
 */

/** Makes the bytes of a session a blob and ends the session; resolves when that is durable. */
export async function commitBlob(
  driver: StorageDriver,
  { name, digest, session, data }: Commit,
): Promise<void> {
  await awaitSweeps(driver, name, digest)
  await using link = await prepareLink(driver, layer(name, digest), digest)
  if (!(await driver.move(data, blobData(digest), { durable: true })))
    throw await lost(driver, session)
  try {
    await link.publish()
    // A collection that had looked before the rename has won, and took the bytes with it.
    if (!(await secureLink(driver, name, digest))) throw new RegistryError('UNAVAILABLE')
  } finally {
    // In any case: the bytes are not there any more, so a second try would find them wrong.
    await driver.remove(session.folder, { durable: false })
  }
}

export type Mount = {
  readonly name: RepoName
  readonly digest: Digest
  /** Where to look; undefined for anywhere. */
  readonly from: RepoName | undefined
}

/** Makes a blob that is stored already one of the repository; false if there is none. Durable. */
export async function mountBlob(
  driver: StorageDriver,
  { name, digest, from }: Mount,
): Promise<boolean> {
  if ((await promiseBlob(driver, name, digest)) !== undefined) return true
  const target = await findSource(driver, digest, from)
  if (target === undefined) return false
  // Use, which a collection sees in the age of the bytes; see `promiseBlob`.
  await driver.touch(blobData(target))
  if (target !== digest) await writeLink(driver, layerLink(name, digest), target)
  return await linkBlob(driver, name, target)
}

/** The digest under which the bytes to mount are stored. */
async function findSource(
  driver: StorageDriver,
  digest: Digest,
  from: RepoName | undefined,
): Promise<Digest | undefined> {
  if (from !== undefined) return (await findBlob(driver, from, digest))?.target
  const isStored = isStorable(digest) && (await driver.stat(blobData(digest))) !== undefined
  return isStored ? digest : undefined
}

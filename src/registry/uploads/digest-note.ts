import type { Digest } from '../../lib/digest.ts'
import type { StorageDriver, StoragePath } from '../../storage/driver.ts'
import { createFile, type Session } from './session.ts'

/*
 * A note beside a session's bytes says what their digest is, so that the process that ends an upload
 * need not read again what another one took in. It is trusted as long as size and time of the bytes are
 * those it names; torn, stale or of another digest it counts for nothing, and the bytes are read.
 * Somebody who can forge it, can write to the folder, and can put anything in place of a blob as well.
 */

/** Reading less again costs no more than the note. */
const minNotedBytes = 1024 * 1024

/**
 * Notes the digest of a claimed file that has been synced: after a power loss there must be no note
 * without the bytes. The note itself is not synced, and nothing fails for want of it.
 */
export async function writeDigestNote(
  driver: StorageDriver,
  session: Session,
  { path, digest }: { readonly path: StoragePath; readonly digest: Digest },
): Promise<void> {
  const text = await noteOf(driver, path, digest)
  if (text === undefined) return
  await driver.remove(session.digestNote, { durable: false })
  await createFile(driver, session.digestNote, text)
  // Making the file makes the folder too, should the session have been cancelled meanwhile.
  if ((await driver.stat(session.startedAt)) === undefined)
    await driver.remove(session.folder, { durable: false })
}

/** True when the digest of the claimed file is noted, and is this. */
export async function isDigestNoted(
  driver: StorageDriver,
  session: Session,
  { path, digest }: { readonly path: StoragePath; readonly digest: Digest },
): Promise<boolean> {
  const note = await driver.read(session.digestNote)
  return note !== undefined && `${note.content}` === (await noteOf(driver, path, digest))
}

async function noteOf(
  driver: StorageDriver,
  path: StoragePath,
  digest: Digest,
): Promise<string | undefined> {
  const stat = await driver.stat(path)
  if (stat === undefined || stat.size < minNotedBytes) return undefined
  return `${digest} ${stat.size} ${stat.modifiedAt}\n`
}

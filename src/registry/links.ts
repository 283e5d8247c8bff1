import { randomUUID } from 'node:crypto'
import { type Digest, isDigest } from '../lib/digest.ts'
import type { StorageDriver, StoragePath } from '../storage/driver.ts'

/**
 * The digest that a link file holds. Undefined when there is no such file, and for one that is empty or
 * torn, which registry:2 leaves behind when it is stopped in the middle: such a link leads nowhere.
 */
export async function readLink(
  driver: StorageDriver,
  path: StoragePath,
): Promise<Digest | undefined> {
  const file = await driver.read(path)
  return file && parseLink(file.content)
}

/** The digest in the content of a link file; undefined if there is none. */
export function parseLink(content: Buffer): Digest | undefined {
  const text = content.toString('latin1').trim()
  return isDigest(text) ? text : undefined
}

/** Writes a link as registry:2 does: the digest, without a line end. Durable. */
export async function writeLink(
  driver: StorageDriver,
  path: StoragePath,
  digest: Digest,
): Promise<void> {
  await driver.write(path, digest)
}

/** A link that has its room on the disk already, so that it can be made on one that is full. */
export type PreparedLink = AsyncDisposable & {
  /** Writes it; durable. */
  publish(): Promise<void>
}

/** Prepares a link. Disposing of what was not published leaves nothing. @throws STORAGE_FULL */
export async function prepareLink(
  driver: StorageDriver,
  folder: StoragePath,
  digest: Digest,
): Promise<PreparedLink> {
  const path = `${folder}/link`
  const temporary = `${path}.${randomUUID()}.tmp`
  let isPublished = false
  const dispose = async (): Promise<void> => {
    if (isPublished) return
    // What cannot be removed now is found by `fsck`.
    await driver.remove(temporary, { durable: false }).catch(() => {})
    await driver.removeEmpty(folder).catch(() => {})
  }
  try {
    await using writer = await driver.create(temporary)
    await writer?.write(Buffer.from(digest))
    await writer?.syncContent()
  } catch (error) {
    await dispose()
    throw error
  }
  return {
    async publish() {
      // A delete or a collection may have taken the folder with it.
      isPublished = await driver.move(temporary, path, { durable: true })
      if (!isPublished) await writeLink(driver, path, digest)
    },
    [Symbol.asyncDispose]: dispose,
  }
}

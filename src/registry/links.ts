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

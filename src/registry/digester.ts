import { createHash, hash } from 'node:crypto'
import { type Digest, parseDigest } from '../lib/digest.ts'
import { RegistryError } from '../lib/errors.ts'
import { giveBuffer, takeBuffer } from '../lib/spare-buffers.ts'
import type { StorageDriver, StoragePath } from '../storage/driver.ts'

/** What blobs may be named by; OCI image-spec "Registered algorithms". */
export type Algorithm = 'sha256' | 'sha512'

/** A hash of bytes that come one after the other. */
export type Digester = {
  readonly algorithm: Algorithm
  /** Bytes that it has seen. */
  readonly offset: number
  update(bytes: Uint8Array): void
  /** The digest of all bytes so far; more may follow. */
  digest(): Digest
}

export function createDigester(algorithm: Algorithm): Digester {
  const hash = createHash(algorithm)
  let offset = 0
  return {
    algorithm,
    get offset() {
      return offset
    },
    update(bytes) {
      hash.update(bytes)
      offset += bytes.length
    },
    digest: () => parseDigest(`${algorithm}:${hash.copy().digest('hex')}`),
  }
}

/** The algorithm with this name. @throws DIGEST_INVALID when we do not have it */
export function parseAlgorithm(name: string): Algorithm {
  if (name === 'sha256' || name === 'sha512') return name
  throw new RegistryError('DIGEST_INVALID', { algorithm: name.slice(0, 64) })
}

/** The algorithm of a digest. @throws DIGEST_INVALID when we do not have it */
export function algorithmOf(digest: Digest): Algorithm {
  return parseAlgorithm(digest.slice(0, digest.indexOf(':')))
}

/** True when `content` is what the digest says; for what is in memory whole. */
export function isContentOf(digest: Digest, content: Buffer): boolean {
  const [algorithm = '', hex] = digest.split(':')
  return hash(algorithm, content) === hex
}

/** True for a digest that can name a blob here; no other leads to a place in the layout. */
export function isStorable(digest: Digest): boolean {
  return digest.startsWith('sha256:') || digest.startsWith('sha512:')
}

/**
 * The digest of a whole file, undefined if there is none. Each piece is hashed while the next is read;
 * between the pieces others have their turn.
 */
export async function digestFile(
  driver: StorageDriver,
  path: StoragePath,
  algorithm: Algorithm,
): Promise<Digest | undefined> {
  await using reader = await driver.open(path)
  if (reader === undefined) return undefined
  const digester = createDigester(algorithm)
  let [current, ahead] = [takeBuffer(), takeBuffer()]
  try {
    let count = await reader.read(current, 0)
    while (count > 0) {
      const reading = reader.read(ahead, digester.offset + count)
      digester.update(current.subarray(0, count))
      count = await reading
      ;[current, ahead] = [ahead, current]
    }
  } finally {
    giveBuffer(current)
    giveBuffer(ahead)
  }
  return digester.digest()
}

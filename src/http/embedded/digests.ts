import { type Digest, parseDigest } from '../../lib/digest.ts'
import { RegistryError } from '../../lib/errors.ts'

/** Whether content can be stored under a digest: whether we can verify it. */
export function isVerifiable(digest: Digest): boolean {
  return /^sha(?:256|512):/.test(digest)
}

/**
 * The digest under which a client wants something stored. OCI distribution-spec "Pushing blobs": one
 * that is invalid, or of an unsupported algorithm, is 400.
 * @throws DIGEST_INVALID
 */
export function parsePushDigest(text: string | undefined): Digest {
  if (text === undefined)
    throw new RegistryError('DIGEST_INVALID', { reason: 'the parameter digest is missing' })
  return requireVerifiable(parseDigest(text))
}

/** `digest` if content can be verified with it. @throws DIGEST_INVALID */
export function requireVerifiable(digest: Digest): Digest {
  if (isVerifiable(digest)) return digest
  throw new RegistryError('DIGEST_INVALID', {
    digest,
    reason: 'the algorithm is not supported; use sha256 or sha512',
  })
}

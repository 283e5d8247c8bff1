import { RegistryError } from './errors.ts'

/** A content identifier that has the right shape, e.g. `sha256:` and 64 lower-case hex digits. */
export type Digest = string & { readonly __brand: 'Digest' }

const grammar = /^[a-z0-9]+(?:[+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+$/
const hexLengths: Readonly<Record<string, number>> = { sha256: 64, sha512: 128 }

/**
 * The digest in `text`; OCI image-spec "Digests". A registered algorithm must have its exact length.
 * @throws DIGEST_INVALID
 */
export function parseDigest(text: string): Digest {
  if (!isDigest(text)) throw new RegistryError('DIGEST_INVALID', { digest: text.slice(0, 256) })
  return text
}

/** True when `text` is a digest in the sense of `parseDigest`. */
export function isDigest(text: string): text is Digest {
  if (text.length > 256 || !grammar.test(text)) return false
  const colon = text.indexOf(':')
  const hexLength = hexLengths[text.slice(0, colon)]
  if (hexLength === undefined) return true
  const encoded = text.slice(colon + 1)
  return encoded.length === hexLength && /^[0-9a-f]+$/.test(encoded)
}

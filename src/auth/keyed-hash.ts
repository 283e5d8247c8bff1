import { hash, randomBytes } from 'node:crypto'

/**
 * A hash of texts under a random key of its own: what was hashed cannot be guessed without the key.
 *
 * The key goes before the text: SHA-256 can be extended so by who has a hash, but these never leave the
 * process. An HMAC takes 2.4 us, this 0.6 us (Node 24), and it is due on every request.
 */
export function createKeyedHash(): (text: string) => string {
  const key = randomBytes(32).toString('base64')
  return (text) => hash('sha256', key + text, 'base64')
}

import { hash } from 'node:crypto'

const alphabet = './0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'

// Byte orders of the printed digests. The SHA ones rotate from triple to triple as their
// specification lists them; `[a, b, c]` prints as the 24 bits a, b, c.
const md5Order = [0, 6, 12, 1, 7, 13, 2, 8, 14, 3, 9, 15, 4, 10, 5, 11]
const sha256Order = [...rotated([0, 10, 20], 10, ([a, b, c]) => [c + 1, a + 1, b + 1]), 31, 30]
const sha512Order = [...rotated([0, 21, 42], 21, ([a, b, c]) => [b + 1, c + 1, a + 1]), 63]

/** The last field of an `$apr1$` hash: Apache's MD5 of 1,000 rounds. `apr_md5_encode` in APR-util. */
export function apr1Digest(passwordText: string, saltText: string): string {
  const password = Buffer.from(passwordText)
  const salt = Buffer.from(saltText)
  const digest = (parts: readonly Buffer[]) => hash('md5', Buffer.concat(parts), 'buffer')

  const parts: Buffer[] = [password, Buffer.from('$apr1$'), salt]
  parts.push(stretch(digest([password, salt, password]), password.length))
  for (let bits = password.length; bits > 0; bits >>= 1) {
    parts.push(bits & 1 ? Buffer.alloc(1) : password.subarray(0, 1))
  }
  return print(spin(digest, { start: digest(parts), password, salt, rounds: 1000 }), md5Order)
}

/**
 * The last field of a `$5$` (sha256) or `$6$` (sha512) hash.
 * "Unix crypt using SHA-256 and SHA-512", U. Drepper; the numbers are the steps of that text.
 */
export function shaCryptDigest(
  algorithm: 'sha256' | 'sha512',
  { password: passwordText, salt: saltText, rounds }: ShaCryptInput,
): string {
  const password = Buffer.from(passwordText)
  const salt = Buffer.from(saltText)
  const digest = (parts: readonly Buffer[]) => hash(algorithm, Buffer.concat(parts), 'buffer')

  const b = digest([password, salt, password]) // 4-8
  const parts = [password, salt, stretch(b, password.length)] // 1-3, 9-10
  for (let bits = password.length; bits > 0; bits >>= 1) parts.push(bits & 1 ? b : password) // 11
  const a = digest(parts) // 12
  const p = stretch(digest([Buffer.alloc(password.length ** 2, password)]), password.length) // 13-16
  const saltCopies = Array.from({ length: 16 + (a[0] ?? 0) }, () => salt)
  const s = stretch(digest(saltCopies), salt.length) // 17-20
  const c = spin(digest, { start: a, password: p, salt: s, rounds }) // 21
  return print(c, algorithm === 'sha256' ? sha256Order : sha512Order) // 22
}

type ShaCryptInput = { readonly password: string; readonly salt: string; readonly rounds: number }

/** The loop that both families share: each round digests password, salt and the last result anew. */
function spin(
  digest: (parts: readonly Buffer[]) => Buffer,
  input: { start: Buffer; password: Buffer; salt: Buffer; rounds: number },
): Buffer {
  let last = input.start
  for (let round = 0; round < input.rounds; round++) {
    const odd = (round & 1) === 1
    const parts = [odd ? input.password : last]
    if (round % 3 !== 0) parts.push(input.salt)
    if (round % 7 !== 0) parts.push(input.password)
    parts.push(odd ? last : input.password)
    last = digest(parts)
  }
  return last
}

/** `length` bytes: `bytes` over and over. */
function stretch(bytes: Buffer, length: number): Buffer {
  return Buffer.alloc(length, bytes)
}

/** crypt(3)'s base64: groups of three bytes, least significant six bits first. */
function print(digest: Buffer, order: readonly number[]): string {
  let text = ''
  for (let at = 0; at < order.length; at += 3) {
    const group = order.slice(at, at + 3)
    let bits = group.reduce((value, index) => (value << 8) | (digest[index] ?? 0), 0)
    for (let left = Math.ceil((group.length * 8) / 6); left > 0; left--) {
      text += alphabet[bits & 63]
      bits >>= 6
    }
  }
  return text
}

type Triple = readonly [number, number, number]

function rotated(first: Triple, count: number, next: (triple: Triple) => Triple): number[] {
  const order: number[] = []
  for (let triple = first, left = count; left > 0; left--, triple = next(triple)) {
    order.push(...triple)
  }
  return order
}

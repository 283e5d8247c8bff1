import { hash, timingSafeEqual } from 'node:crypto'
import bcrypt from 'bcryptjs'
import { apr1Digest, shaCryptDigest } from './crypt-digests.ts'

/** A stored password hash that can be verified. */
export type PasswordHash = {
  /** The whole hash, as it stands in the file. */
  readonly text: string
  /** The kind of hash, for people. */
  readonly scheme: string
  /** What one verification costs within its scheme: bcrypt's log2, SHA-crypt's rounds, otherwise 1. */
  readonly cost: number
  /** About how long one verification keeps a core busy, to compare hashes of different schemes. */
  readonly estimatedMs: number
}

type Fields = { readonly salt: string; readonly digest: string; readonly cost: number }

type Scheme = {
  readonly name: string
  readonly prefix: RegExp
  /** Names `digest`, and `salt` and `cost` where the scheme has them. */
  readonly shape: RegExp
  /** Costs that are served. The upper bound keeps one login to a few seconds of one core. */
  readonly costs: { readonly min: number; readonly default: number; readonly max: number }
  /** Measured on one core of a small server; only the proportions matter. */
  readonly estimateMs: (cost: number) => number
  readonly matches: (password: string, fields: Fields) => boolean
}

const oneCost = { min: 1, default: 1, max: 1 }
const shaCryptCosts = { min: 1000, default: 5000, max: 1_000_000 }

const schemes: readonly Scheme[] = [
  {
    name: 'bcrypt',
    prefix: /^\$2[aby]\$/,
    shape: /^(?<salt>\$2[aby]\$(?<cost>\d\d)\$[./A-Za-z0-9]{22})(?<digest>[./A-Za-z0-9]{31})$/,
    costs: { min: 4, default: 10, max: 16 },
    estimateMs: (cost) => 0.09 * 2 ** cost,
    matches: (password, { salt, digest }) =>
      isEqual(bcrypt.hashSync(password, salt).slice(-digest.length), digest),
  },
  {
    name: 'apr1',
    prefix: /^\$apr1\$/,
    shape: /^\$apr1\$(?<salt>[^$]{1,8})\$(?<digest>[./A-Za-z0-9]{22})$/,
    costs: oneCost,
    estimateMs: () => 1.5,
    matches: (password, { salt, digest }) => isEqual(apr1Digest(password, salt), digest),
  },
  {
    name: 'sha256-crypt',
    prefix: /^\$5\$/,
    shape:
      /^\$5\$(?:rounds=(?<cost>[1-9]\d{0,8})\$)?(?<salt>[^$]{0,16})\$(?<digest>[./A-Za-z0-9]{43})$/,
    costs: shaCryptCosts,
    estimateMs: (rounds) => 0.0017 * rounds,
    matches: (password, { salt, digest, cost: rounds }) =>
      isEqual(shaCryptDigest('sha256', { password, salt, rounds }), digest),
  },
  {
    name: 'sha512-crypt',
    prefix: /^\$6\$/,
    shape:
      /^\$6\$(?:rounds=(?<cost>[1-9]\d{0,8})\$)?(?<salt>[^$]{0,16})\$(?<digest>[./A-Za-z0-9]{86})$/,
    costs: shaCryptCosts,
    estimateMs: (rounds) => 0.0017 * rounds,
    matches: (password, { salt, digest, cost: rounds }) =>
      isEqual(shaCryptDigest('sha512', { password, salt, rounds }), digest),
  },
  {
    name: 'SHA-1',
    prefix: /^\{SHA\}/,
    shape: /^\{SHA\}(?<digest>[A-Za-z0-9+/]{27}=)$/,
    costs: oneCost,
    estimateMs: () => 0.01,
    matches: (password, { digest }) => isSha1(password, Buffer.from(digest, 'base64')),
  },
  {
    name: 'salted SHA-1',
    prefix: /^\{SSHA\}/,
    // 20 bytes of digest and at least one of salt are 28 characters of base64.
    shape: /^\{SSHA\}(?<digest>[A-Za-z0-9+/]{28,172}={0,2})$/,
    costs: oneCost,
    estimateMs: () => 0.01,
    matches: (password, { digest }) => isSha1(password, Buffer.from(digest, 'base64')),
  },
]

/** Why a hash of no scheme above is refused. Never quotes it: it may be the password itself. */
const refusals: readonly (readonly [shape: RegExp, reason: string])[] = [
  [/^$/, 'there is no password hash'],
  [/^\$\$/, 'its $ signs are doubled, as in a Compose file'],
  [/^\$1\$/, 'MD5-crypt ($1$) is not supported'],
  [/^\$2/, 'this variant of bcrypt is not supported'],
  [/^\$argon2/, 'Argon2 is not supported'],
  [/^\$g?y\$/, 'yescrypt is not supported'],
  [/^\$7\$/, 'scrypt is not supported'],
  [/^[$_{]/, 'this kind of hash is not known'],
  [/^[./A-Za-z0-9]{13}$/, 'DES crypt is not supported (or this is a plain-text password)'],
  [/^/, 'this is a plain-text password, not a hash'],
]

/** Reads a stored hash; `problem` says why it cannot be used, without quoting it. */
export function parsePasswordHash(text: string): PasswordHash | { readonly problem: string } {
  const scheme = schemes.find(({ prefix }) => prefix.test(text))
  if (scheme === undefined) {
    return { problem: refusals.find(([shape]) => shape.test(text))?.[1] ?? 'not a password hash' }
  }
  const fields = readFields(scheme, text)
  if (fields === undefined) {
    return { problem: `the ${scheme.name} hash is malformed or cut off` }
  }
  const { min, max } = scheme.costs
  if (fields.cost < min || fields.cost > max) {
    return { problem: `the ${scheme.name} cost ${fields.cost} is outside ${min} to ${max}` }
  }
  const estimatedMs = scheme.estimateMs(fields.cost)
  return { text, scheme: scheme.name, cost: fields.cost, estimatedMs }
}

/**
 * True when `password` matches `text`, a hash that `parsePasswordHash` accepted. Blocks the thread
 * for as long as the hash's cost asks: servers call it in a worker. Passwords beyond 72 bytes match
 * bcrypt hashes by their first 72, as in every other htpasswd server.
 */
export function verifyPassword(password: string, text: string): boolean {
  const scheme = schemes.find(({ prefix }) => prefix.test(text))
  if (scheme === undefined) return false
  const fields = readFields(scheme, text)
  return fields !== undefined && scheme.matches(password, fields)
}

/** A fresh bcrypt hash with the `$2y$` prefix, the one that Apache, nginx and registry:2 all accept. */
export function hashPassword(password: string, cost = 10): string {
  return bcrypt.hashSync(password, bcrypt.genSaltSync(cost).replace(/^\$2b\$/, '$2y$'))
}

function readFields(scheme: Scheme, text: string): Fields | undefined {
  const groups = scheme.shape.exec(text)?.groups
  if (groups === undefined) return undefined
  const { salt = '', digest = '', cost = scheme.costs.default } = groups
  return { salt, digest, cost: Number(cost) }
}

function isSha1(password: string, digestAndSalt: Buffer): boolean {
  const salted = Buffer.concat([Buffer.from(password), digestAndSalt.subarray(20)])
  return timingSafeEqual(hash('sha1', salted, 'buffer'), digestAndSalt.subarray(0, 20))
}

function isEqual(computed: string, stored: string): boolean {
  return timingSafeEqual(Buffer.from(computed), Buffer.from(stored))
}

import { execFileSync } from 'node:child_process'
import test, { type ExecutionContext } from 'ava'
import fc from 'fast-check'
import { hashPassword, parsePasswordHash, verifyPassword } from '../../../src/auth/password-hash.ts'

const long = 'a very much longer text to encrypt.  This one even stretches over morethan one line.'
const odd = 'pässwörd:☃'

const refused: [what: string, hash: string, reason: RegExp][] = [
  ['an empty hash', '', /no password hash/],
  ['plain text', 'secret', /plain-text/],
  ['DES crypt', '2rBsuw4CfIVIc', /DES crypt/],
  ['MD5-crypt', '$1$abcdefgh$0123456789012345678901', /MD5-crypt/],
  ['Argon2', '$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA', /Argon2/],
  ['yescrypt', '$y$j9T$salt$hash', /yescrypt/],
  ['scrypt', '$7$C6..../....$hash', /scrypt/],
  ['the broken bcrypt variant', `$2x$10$${'a'.repeat(53)}`, /variant of bcrypt/],
  ['an unknown kind', '{PLAIN}secret', /not known/],
  ['a hash escaped for Compose', `$$2y$$10$$${'a'.repeat(53)}`, /doubled/],
  ['a cut bcrypt hash', '$2y$10$abc', /malformed or cut off/],
  ['a cut SHA hash', '{SHA}5en6G6MezRroT3XK', /malformed or cut off/],
  ['an SSHA hash without salt', '{SSHA}5en6G6MezRroT3XKqkdPOmY/BfQ=', /malformed or cut off/],
  ['bcrypt of cost 17', `$2y$17$${'a'.repeat(53)}`, /cost 17 is outside 4 to 16/],
  ['bcrypt of cost 3', `$2y$03$${'a'.repeat(53)}`, /cost 3 is outside/],
  ['too many rounds', `$6$rounds=1000001$salt$${'a'.repeat(86)}`, /outside 1000 to 1000000/],
  ['too few rounds', `$5$rounds=999$salt$${'a'.repeat(43)}`, /outside/],
]
for (const [what, hash, reason] of refused) {
  test(`${what} is refused with a reason that does not quote it`, (t) => {
    const result = parsePasswordHash(hash)
    const problem = 'problem' in result ? result.problem : ''
    t.regex(problem, reason)
    t.false(hash.length > 6 && problem.includes(hash.slice(-6)))
  })
}

function accepts(t: ExecutionContext, password: string, hash: string): void {
  const parsed = parsePasswordHash(hash)
  t.true('text' in parsed, JSON.stringify(parsed))
  t.true(verifyPassword(password, hash), hash)
  t.false(verifyPassword(`${password}.`, hash), hash)
  t.false(verifyPassword('', hash), hash)
}

// Written by glibc's crypt(3), openssl passwd, htpasswd, and openssl dgst for the salted SHA-1.
const vectors: [password: string, hash: string][] = [
  ['Hello world!', '$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5'],
  [
    'Hello world!',
    '$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1',
  ],
  [long, '$5$rounds=1400$anotherlongsalts$Rx.j8H.h8HjEDGomFU8bDkXm3XIUnzyxf12oP84Bnq1'],
  [
    long,
    '$6$rounds=1400$anotherlongsalts$POfYwTEok97VWcjxIiSOjiykti.o/pQs.wPvMxQ6Fm7I6IoYN3CmLs66x9t0oSwbtEW7o7UmJEiDwGqd8p4ur1',
  ],
  [odd, '$5$rounds=1400$anotherlongsalts$FMbdz2T3MVFv.CdVGhhKkLvxFS/U3m1nPap7NC/kAW8'],
  ['Hello world!', '$apr1$r31.....$DSxSjH675VTjvc8yL6H8v/'],
  [long, '$apr1$r31.....$l8yw2Co9vCYHCYRtvkQht/'],
  [odd, '$apr1$r31.....$7b/6h9bZTyhj5LjDeYQiU/'],
  ['secret', '{SSHA}gVK8WC9YyFT1gMsQHTGCgT3sSv5zYWx0'],
  ['secret', '{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ='],
  ['secret', '$2y$05$cQTQQvzHnStqaA0HhsL.l.sP7c.3Cha.u1IhXKc6KGETDiZQzGkai'],
  ['secret', '$2a$05$cQTQQvzHnStqaA0HhsL.l.sP7c.3Cha.u1IhXKc6KGETDiZQzGkai'],
  ['secret', '$2b$05$cQTQQvzHnStqaA0HhsL.l.sP7c.3Cha.u1IhXKc6KGETDiZQzGkai'],
]
for (const [password, hash] of vectors) {
  test(`the right password matches ${hash.slice(0, 40)} and others do not`, accepts, password, hash)
}

test('what we write is bcrypt of cost 10 under $2y$, and matches', (t) => {
  const hash = hashPassword('pässwörd:☃')
  t.regex(hash, /^\$2y\$10\$/)
  accepts(t, 'pässwörd:☃', hash)
})

const opensslKinds = ['-apr1', '-5', '-6']
const htpasswdKinds = ['-m', '-s', '-B', '-2', '-5']

for (const kind of opensslKinds) {
  test(`what openssl passwd ${kind} writes is matched, for any password`, (t) => {
    if (!isPresent('openssl')) return skip(t, 'openssl')
    for (const [password] of sampledPasswords()) {
      const hash = run('openssl', ['passwd', kind, '-stdin'], `${password}\n`).trim()
      accepts(t, password, hash)
    }
  })
}
for (const kind of htpasswdKinds) {
  test(`what htpasswd ${kind} writes is matched, for any password`, (t) => {
    if (!isPresent('htpasswd')) return skip(t, 'htpasswd')
    for (const [password] of sampledPasswords()) {
      const line = run('htpasswd', ['-n', '-i', kind, 'user'], `${password}\n`).trim()
      accepts(t, password, line.slice('user:'.length))
    }
  })
}

function sampledPasswords(): [string][] {
  const printable = fc
    .string({ unit: 'grapheme', minLength: 1, maxLength: 20 })
    .filter((text) => Buffer.byteLength(text) <= 71)
  return [['x'.repeat(65)], [odd], ...fc.sample(printable, 6).map((text): [string] => [text])]
}

function run(command: string, args: string[], input: string): string {
  return execFileSync(command, args, { input, encoding: 'utf8', stdio: ['pipe', 'pipe', 'ignore'] })
}

function isPresent(command: string): boolean {
  try {
    execFileSync('sh', ['-c', `command -v ${command}`], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

function skip(t: ExecutionContext, peer: string): void {
  t.log(`skipped: ${peer} is not installed`)
  t.pass()
}

import test from 'ava'
import fc from 'fast-check'
import { basicChallenge, parseBasicCredentials } from '../../../src/auth/basic-credentials.ts'

const basic = (text: string | Buffer): string => `Basic ${Buffer.from(text).toString('base64')}`

const malformed: [what: string, value: string][] = [
  ['an empty value', ''],
  ['a scheme alone', 'Basic'],
  ['another scheme', 'Bearer YTpi'],
  ['text that is not base64', 'Basic a:b'],
  ['base64url', 'Basic YT_-'],
  ['credentials without a colon', basic('alice')],
  ['bytes that are not UTF-8', basic(Buffer.from([0x61, 0x3a, 0xff]))],
  ['two tokens', 'Basic YTpi YTpi'],
]
for (const [what, value] of malformed) {
  test(`${what} is no credentials`, (t) => {
    t.is(parseBasicCredentials(value), undefined)
  })
}

test('the scheme is found in any case, and spaces around the token are let pass', (t) => {
  for (const scheme of ['basic', 'BASIC', 'bAsIc']) {
    t.deepEqual(parseBasicCredentials(`${scheme}  YTpi `), { user: 'a', password: 'b' })
  }
})

test('the first colon divides name and password', (t) => {
  t.deepEqual(parseBasicCredentials(basic('a:b:c:')), { user: 'a', password: 'b:c:' })
  t.deepEqual(parseBasicCredentials(basic(':')), { user: '', password: '' })
})

test('any Unicode name and password survive the journey', (t) => {
  const unicode = fc.string({ unit: 'grapheme' })
  fc.assert(
    fc.property(
      unicode.filter((name) => !name.includes(':')),
      unicode,
      (user, password) => {
        t.deepEqual(parseBasicCredentials(basic(`${user}:${password}`)), { user, password })
      },
    ),
  )
})

test('a byte order mark belongs to the name', (t) => {
  t.deepEqual(parseBasicCredentials(basic('\ufeffa:b')), { user: '\ufeffa', password: 'b' })
})

test('the challenge quotes its realm and can never break the header', (t) => {
  t.is(basicChallenge('Registry'), 'Basic realm="Registry", charset="UTF-8"')
  t.is(basicChallenge('a "b" \\c'), 'Basic realm="a \\"b\\" \\\\c", charset="UTF-8"')
  t.is(basicChallenge('a\r\nX-Evil: 1'), 'Basic realm="a  X-Evil: 1", charset="UTF-8"')
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (realm) => {
      const headers = new Headers({ 'www-authenticate': basicChallenge(realm) })
      t.regex(headers.get('www-authenticate') ?? '', /^Basic realm=".*", charset="UTF-8"$/s)
    }),
  )
})

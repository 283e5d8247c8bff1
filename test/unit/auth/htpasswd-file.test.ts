import test from 'ava'
import fc from 'fast-check'
import { parseHtpasswd } from '../../../src/auth/htpasswd-file.ts'

const sha = '{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ='
const bcrypt = '$2y$05$cQTQQvzHnStqaA0HhsL.l.sP7c.3Cha.u1IhXKc6KGETDiZQzGkai'

const read = (text: string | Buffer) => {
  const { entries, problems } = parseHtpasswd(Buffer.from(text))
  return { users: entries.map(({ line, user, hash }) => [line, user, hash.text]), problems }
}

test('a bad line disables only itself and is told by line, user and reason', (t) => {
  const { users, problems } = read(
    [
      `alice:${sha}`,
      'bob:secret',
      'no colon here',
      `:${sha}`,
      'carol:',
      'dave:2rBsuw4CfIVIc',
      `e\u0001ve:${sha}`,
      `${'x'.repeat(300)}:${sha}`,
      `zoe:${bcrypt}`,
    ].join('\n'),
  )
  t.deepEqual(users, [
    [1, 'alice', sha],
    [9, 'zoe', bcrypt],
  ])
  t.deepEqual(
    problems.map(({ line, user }) => [line, user?.slice(0, 8)]),
    [
      [2, 'bob'],
      [3, undefined],
      [4, undefined],
      [5, 'carol'],
      [6, 'dave'],
      [7, 'e\\u{1}ve'],
      [8, 'xxxxxxxx'],
    ],
  )
  t.false(JSON.stringify(problems).includes('secret'))
})

test('an empty line never becomes a user with an empty name', (t) => {
  t.deepEqual(read('\n\n \t\r\n'), { users: [], problems: [] })
})

test('byte order mark, CRLF, comments, blank lines and blanks around a line are let pass', (t) => {
  const text = `\ufeffalice:${sha} \t\r\n# comment:${sha}\r\n\r\n  #x\r\n  bob:${bcrypt}  `
  t.deepEqual(read(text), {
    users: [
      [1, 'alice', sha],
      [5, 'bob', bcrypt],
    ],
    problems: [],
  })
})

test('a third field is a comment, as for Apache and nginx', (t) => {
  t.deepEqual(read(`alice:${sha}:Alice A.`).users, [[1, 'alice', sha]])
})

test('the first line of a name counts, even a bad one', (t) => {
  const { users, problems } = read(
    `alice:${sha}\nalice:${bcrypt}\nbob:!locked\nbob:${sha}\n__proto__:${sha}`,
  )
  t.deepEqual(users, [
    [1, 'alice', sha],
    [5, '__proto__', sha],
  ])
  t.deepEqual(
    problems.map(({ line, reason }) => [line, /line (\d)/.exec(reason)?.[1]]),
    [
      [2, '1'],
      [3, undefined],
      [4, '3'],
    ],
  )
})

test('a hash in the place of the name is not repeated', (t) => {
  const { problems } = read(`${bcrypt}:alice\n${sha}:bob`)
  t.deepEqual(
    problems.map(({ user }) => user),
    [undefined, undefined],
  )
})

test('files that are not UTF-8 are named as such', (t) => {
  const utf16 = Buffer.from(`\ufeffalice:${sha}\r\n`, 'utf16le')
  t.regex(read(utf16).problems[0]?.reason ?? '', /UTF-16/)
  const latin1 = Buffer.from(`j\u00fcrgen:${sha}\nbob:${sha}`, 'latin1')
  t.regex(read(latin1).problems[0]?.reason ?? '', /not UTF-8/)
  t.deepEqual(read(latin1).users, [[2, 'bob', sha]])
})

test('any bytes at all are read without an exception, and no usable user is nameless', (t) => {
  const anything = fc.oneof(
    fc.uint8Array().map((bytes) => Buffer.from(bytes)),
    fc.string({ unit: 'binary' }).map((text) => Buffer.from(text)),
    fc.string().map((text) => Buffer.from(`${text}:${sha}\n`)),
  )
  fc.assert(
    fc.property(fc.array(anything), (parts) => {
      const { entries } = parseHtpasswd(Buffer.concat(parts))
      t.true(entries.every(({ user }) => user !== '' && !user.includes(':')))
    }),
  )
})

import test from 'ava'
import fc from 'fast-check'
import { logField } from '../../../src/observability/access-record.ts'

test('log field: nothing stays nothing', (t) => {
  t.is(logField(undefined), undefined)
  t.is(logField(''), '')
})

test('log field: what breaks lines, moves the cursor or turns text round is replaced', (t) => {
  for (const evil of [
    '\n',
    '\r',
    '\t',
    '\0',
    '\x1b',
    '\x7f',
    '\x85',
    '\x9b',
    '\u2028',
    '\u2029',
    '\u202e',
    '\u200b',
    '\ufeff',
  ]) {
    t.is(logField(`a${evil}b`), 'a\ufffdb', JSON.stringify(evil))
  }
})

test('log field: whatever comes in, a bounded text without control characters comes out', (t) => {
  const text = fc.oneof(
    fc.string({ maxLength: 600 }),
    fc.string({ unit: 'binary', maxLength: 600 }),
  )
  fc.assert(
    fc.property(text, (value) => {
      const field = logField(value) ?? ''
      t.true(field.length <= 256)
      t.notRegex(field, /[\p{Cc}\p{Cf}\u2028\u2029]/u)
    }),
  )
})

test('log field: plain text stays as it is', (t) => {
  for (const text of ['docker/29.0 (linux)', 'déjà vu', '日本', '"quoted"'])
    t.is(logField(text), text)
})

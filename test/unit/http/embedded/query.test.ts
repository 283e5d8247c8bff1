import test from 'ava'
import fc from 'fast-check'
import { parseQuery } from '../../../../src/http/embedded/query.ts'
import { RegistryError } from '../../../../src/lib/errors.ts'
import { throwsCode } from '../../relay/support.ts'

test('query: a parameter with two meanings is refused, not guessed at', (t) => {
  const query = parseQuery('/v2/a/blobs/uploads/?digest=a&digest=b')
  throwsCode(t, () => query.one('digest'), 'REQUEST_INVALID')
  throwsCode(t, () => parseQuery('/?n=1&n=').one('n'), 'REQUEST_INVALID')
})

test('query: a parameter that is repeated with one meaning has it', (t) => {
  t.is(parseQuery('/?n=1&last=a&n=1').one('n'), '1')
  t.is(parseQuery('/?a=%61&a=a').one('a'), 'a')
})

test('query: what is not there is undefined, what has no value is empty', (t) => {
  for (const target of ['/', '/?', '/?b=1', '/?&&', '/?=a'])
    t.is(parseQuery(target).one('a'), undefined, target)
  t.is(parseQuery('/?a').one('a'), '')
  t.is(parseQuery('/?a=').one('a'), '')
  t.deepEqual(parseQuery('/').all('a'), [])
})

test('query: values are decoded once, and what cannot be decoded is taken as it is', (t) => {
  t.is(parseQuery('/?a=x%2520y').one('a'), 'x%20y')
  t.is(parseQuery('/?a=1%').one('a'), '1%')
  t.is(parseQuery('/?a=b?c=d').one('a'), 'b?c=d')
  t.is(parseQuery('/?digest=sha256:ab').one('digest'), 'sha256:ab')
  t.is(parseQuery('/?digest=sha256%3Aab').one('digest'), 'sha256:ab')
})

test('query: parameters that may be repeated keep their order', (t) => {
  t.deepEqual(parseQuery('/?tag=b&tag=a&x=1&tag=b').all('tag'), ['b', 'a'])
})

test('query: what was encoded is read back', (t) => {
  fc.assert(
    fc.property(fc.array(fc.string({ unit: 'binary' })), (values) => {
      const query = values.map((value) => `a=${encodeURIComponent(value)}`).join('&')
      t.deepEqual(parseQuery(`/?${query}`).all('a'), [...new Set(values)])
    }),
  )
})

test('query: whatever the target, there is a value, none, or a refusal', (t) => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[?&=a%0-9]*$/)), (text) => {
      try {
        const value = parseQuery(text).one('a')
        t.true(value === undefined || typeof value === 'string')
      } catch (error) {
        t.true(error instanceof RegistryError && error.code === 'REQUEST_INVALID')
      }
    }),
  )
})

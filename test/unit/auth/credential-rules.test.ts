import test from 'ava'
import {
  passwordProblem,
  printableName,
  userNameProblem,
} from '../../../src/auth/credential-rules.ts'

test('names that nobody can send are refused', (t) => {
  for (const name of ['', 'a:b', 'a\nb', 'a\0', '\u007f', 'x'.repeat(257)]) {
    t.is(typeof userNameProblem(name), 'string', JSON.stringify(name))
  }
  for (const name of ['a', 'jürgen', 'a b', '#a', 'x'.repeat(256)]) {
    t.is(userNameProblem(name), undefined, name)
  }
})

test('passwords that nobody can send are refused', (t) => {
  for (const password of ['', 'a\nb', 'a\0', '\u007f', 'é'.repeat(513)]) {
    t.is(typeof passwordProblem(password), 'string', JSON.stringify(password))
  }
  for (const password of ['a', ':', '☃ & ü', 'x'.repeat(1024)]) {
    t.is(passwordProblem(password), undefined, password)
  }
})

test('a printable name hides nothing, forges nothing and stays short', (t) => {
  t.is(printableName('jürgen'), 'jürgen')
  t.is(printableName('a\nb\u202ec'), 'a\\u{a}b\\u{202e}c')
  t.is(printableName('\n'.repeat(1000)).length, 64)
})

import test from 'ava'
import fc from 'fast-check'
import { editDistance, nearestPath } from '../../../src/config/nearest.ts'

const known = ['log.level', 'http.addr', 'http.hosts', 'http.tls.certificate', 'http.tls.key']

test('nothing is near a path like no other', (t) => {
  t.is(nearestPath('storage.filesystem', known), undefined)
  t.is(nearestPath('', known), undefined)
})

for (const [path, nearest] of [
  ['http.adr', 'http.addr'],
  ['http.ADDR', 'http.addr'],
  ['http.level', 'log.level'],
  ['tls.certificate', 'http.tls.certificate'],
  ['certificate', 'http.tls.certificate'],
  ['htpt.hosts', 'http.hosts'],
] as const) {
  test(`${path} is near ${nearest}`, (t) => {
    t.is(nearestPath(path, known), nearest)
  })
}

test('the beginning of a key is enough, and a key with more behind it', (t) => {
  t.is(nearestPath('http.tls.cert', known), 'http.tls.certificate')
  t.is(nearestPath('http.tls.keyfile', known), 'http.tls.key')
  t.is(nearestPath('http.tls.ke', ['http.tls.keepalive']), undefined, 'two letters are not')
})

test('a path from another section is preferred or none', (t) => {
  const all = ['redis.password', 'redis.addr', ...known]
  t.is(nearestPath('password', all, known), undefined)
  t.is(nearestPath('upstream.password', all, known), undefined)
  t.is(nearestPath('upstream.addr', all, known), 'http.addr')
  t.is(nearestPath('redis.pasword', all, known), 'redis.password')
})

test('edit distance is a metric that counts single edits', (t) => {
  const word = fc.stringMatching(/^[a-c]{0,6}$/)
  t.is(editDistance('kitten', 'sitting'), 3)
  fc.assert(
    fc.property(word, word, word, (a, b, c) => {
      t.is(editDistance(a, a), 0)
      t.is(editDistance(a, b), editDistance(b, a))
      t.true(editDistance(a, c) <= editDistance(a, b) + editDistance(b, c))
      t.is(editDistance(a, `${a}x`), 1)
    }),
  )
})

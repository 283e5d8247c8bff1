import test from 'ava'
import fc from 'fast-check'
import { createSizedCache } from '../../../src/lib/sized-cache.ts'

const createTexts = (maxCost: number) =>
  createSizedCache<string, string>({ maxCost, costOf: ({ length }) => length })

test('sized-cache: the least recently used goes first', (t) => {
  const cache = createTexts(4)
  cache.set('a', 'xx')
  cache.set('b', 'yy')
  t.is(cache.get('a'), 'xx')
  cache.set('c', 'z')
  t.is(cache.get('b'), undefined)
  t.is(cache.get('a'), 'xx')
  t.is(cache.cost, 3)
})

test('sized-cache: what alone is too large is not kept, nor what it was to replace', (t) => {
  const cache = createTexts(4)
  cache.set('a', 'xx')
  cache.set('b', 'y')
  cache.set('a', 'xxxxx')
  t.is(cache.get('a'), undefined)
  t.is(cache.get('b'), 'y')
  t.is(cache.cost, 1)
})

test('sized-cache: what is deleted costs nothing any more', (t) => {
  const cache = createTexts(4)
  cache.set('a', 'xxxx')
  cache.delete('a')
  cache.delete('never there')
  t.is(cache.cost, 0)
  t.is(cache.get('a'), undefined)
})

test('sized-cache: it never costs more than allowed, and every answer is what was set last', (t) => {
  const steps = fc.array(fc.tuple(fc.constantFrom('a', 'b', 'c', 'd'), fc.string({ maxLength: 9 })))
  fc.assert(
    fc.property(steps, (sets) => {
      const cache = createTexts(12)
      const all = new Map<string, string>()
      for (const [key, value] of sets) {
        cache.set(key, value)
        all.set(key, value)
        t.is(cache.get(key), value)
        t.true(cache.cost <= 12)
      }
      const kept = [...all].filter(([key]) => cache.get(key) !== undefined)
      t.true(kept.every(([key, value]) => cache.get(key) === value))
      t.is(
        cache.cost,
        kept.reduce((sum, [, { length }]) => sum + length, 0),
      )
    }),
  )
})

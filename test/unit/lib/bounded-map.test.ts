import test from 'ava'
import fc from 'fast-check'
import { createBoundedMap } from '../../../src/lib/bounded-map.ts'

const createClock = () => {
  const clock = { ms: 0, now: () => clock.ms }
  return clock
}

test('bounded map: the least recently used entry goes first, and reading is use', (t) => {
  const map = createBoundedMap<string, number>({ max: 2, ttlMs: 1000 })
  map.set('a', 1)
  map.set('b', 2)
  t.is(map.get('a'), 1)
  map.set('c', 3)
  t.is(map.get('b'), undefined)
  t.deepEqual([map.get('a'), map.get('c'), map.size], [1, 3, 2])
})

test('bounded map: an entry is forgotten its time after it was set, read or not', (t) => {
  const clock = createClock()
  const map = createBoundedMap<string, number>({ max: 9, ttlMs: 1000, now: clock.now })
  map.set('a', 1)
  clock.ms = 999
  t.is(map.get('a'), 1)
  clock.ms = 1000
  t.is(map.get('a'), undefined)
  t.is(map.size, 0)
})

test('bounded map: setting again begins the time again', (t) => {
  const clock = createClock()
  const map = createBoundedMap<string, number>({ max: 9, ttlMs: 1000, now: clock.now })
  map.set('a', 1)
  clock.ms = 900
  map.set('a', 2)
  clock.ms = 1800
  t.is(map.get('a'), 2)
})

test('bounded map: it can be emptied by key and as a whole', (t) => {
  const map = createBoundedMap<string, number>({ max: 9, ttlMs: 1000 })
  map.set('a', 1)
  map.set('b', 2)
  map.delete('a')
  map.delete('absent')
  t.deepEqual([map.get('a'), map.get('b')], [undefined, 2])
  map.clear()
  t.is(map.size, 0)
})

type Step =
  | { readonly act: 'set'; readonly key: string; readonly value: number }
  | { readonly act: 'get' | 'delete'; readonly key: string }
  | { readonly act: 'wait'; readonly ms: number }

/** The same map as a list, searched from end to end: the slow, plain reading of the rules. */
function createModel(max: number, clock: { readonly ms: number }) {
  let entries: { key: string; value: number; until: number }[] = []
  const take = (key: string) => {
    const found = entries.find((entry) => entry.key === key)
    entries = entries.filter((entry) => entry.key !== key)
    return found !== undefined && found.until > clock.ms ? found : undefined
  }
  return {
    take,
    set(key: string, value: number) {
      take(key)
      entries = [...entries, { key, value, until: clock.ms + 100 }].slice(-max)
    },
    get(key: string) {
      const live = take(key)
      if (live !== undefined) entries.push(live)
      return live?.value
    },
  }
}

test('bounded map: it behaves as a list that is searched, and never outgrows its bound', (t) => {
  const key = fc.constantFrom('a', 'b', 'c', 'd', 'e')
  const step: fc.Arbitrary<Step> = fc.oneof(
    fc.record({ act: fc.constant('set' as const), key, value: fc.nat(99) }),
    fc.record({ act: fc.constantFrom('get' as const, 'delete' as const), key }),
    fc.record({ act: fc.constant('wait' as const), ms: fc.nat(60) }),
  )
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 4 }), fc.array(step, { maxLength: 60 }), (max, steps) => {
      const clock = createClock()
      const map = createBoundedMap<string, number>({ max, ttlMs: 100, now: clock.now })
      const model = createModel(max, clock)
      const run: Record<Step['act'], (each: Step) => void> = {
        set(each) {
          if (each.act !== 'set') return
          map.set(each.key, each.value)
          model.set(each.key, each.value)
        },
        get(each) {
          if ('key' in each) t.is(map.get(each.key), model.get(each.key))
        },
        delete(each) {
          if (!('key' in each)) return
          map.delete(each.key)
          model.take(each.key)
        },
        wait(each) {
          if ('ms' in each) clock.ms += each.ms
        },
      }
      for (const each of steps) {
        run[each.act](each)
        t.true(map.size <= max)
      }
    }),
  )
})

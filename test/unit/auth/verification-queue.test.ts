import test from 'ava'
import fc from 'fast-check'
import { createVerificationQueue, type Suspicion } from '../../../src/auth/verification-queue.ts'

type Item = { readonly name: string; suspicion: Suspicion }
const item = (name: string, first = 0, second = 0): Item => ({ name, suspicion: [first, second] })
const createQueue = (max: number) =>
  createVerificationQueue<Item>({ max, suspicion: ({ suspicion }) => suspicion })

test('a full queue gives up the item that would come last, not the newest', (t) => {
  const queue = createQueue(2)
  t.is(queue.add(item('suspect', 1)), undefined)
  t.is(queue.add(item('old')), undefined)
  t.is(queue.add(item('new'))?.name, 'suspect')
  t.is(queue.add(item('newer'))?.name, 'old')
  t.is(queue.add(item('guess', 5))?.name, 'guess')
  t.is(queue.size, 2)
})

test('the least suspect goes first, the newest among equals', (t) => {
  const queue = createQueue(10)
  for (const one of [item('a', 1), item('b'), item('c', 0, 3), item('d'), item('e', 1)]) {
    queue.add(one)
  }
  const order = Array.from({ length: 6 }, () => queue.take()?.name)
  t.deepEqual(order, ['d', 'b', 'c', 'e', 'a', undefined])
})

test('suspicion counts as it is at the turn, not as it was on arrival', (t) => {
  const queue = createQueue(10)
  const guess = item('guess')
  queue.add(item('good'))
  queue.add(guess)
  guess.suspicion = [1, 1]
  t.is(queue.take()?.name, 'good')
})

test('whatever is added comes out once: taken or given up', (t) => {
  fc.assert(
    fc.property(fc.nat(8), fc.array(fc.tuple(fc.nat(3), fc.nat(3))), (max, suspicions) => {
      const queue = createQueue(max)
      const seen: (Item | undefined)[] = suspicions.map(([a, b], at) =>
        queue.add(item(`${at}`, a, b)),
      )
      t.true(queue.size <= max)
      while (queue.size > 0) seen.push(queue.take())
      const names = seen.flatMap((one) => one?.name ?? [])
      t.is(new Set(names).size, suspicions.length)
      t.is(names.length, suspicions.length)
    }),
  )
})

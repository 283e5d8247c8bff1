import test from 'ava'
import fc from 'fast-check'
import { largeBufferBytes } from '../../../src/lib/large-buffers.ts'
import { bodyBufferBytes, giveBuffer, takeBuffer } from '../../../src/lib/spare-buffers.ts'
import { createReadBuffers, type Loan, type ReadBuffers } from '../../../src/relay/read-buffers.ts'

type Held = Loan & { readonly expected: Buffer }
type Model = { held: Held[]; fill: number }

/** One read as a connection makes it: only into a buffer that is free, then lent in two views. */
class Read implements fc.Command<Model, ReadBuffers> {
  readonly #expected: number
  readonly #keep: boolean
  constructor(expected: number, keep: boolean) {
    this.#expected = expected
    this.#keep = keep
  }
  check = () => true
  run(model: Model, buffers: ReadBuffers): void {
    const buffer = buffers.next(this.#expected)
    if (!buffers.isFree(buffer)) return
    model.fill += 1
    buffer.fill(model.fill & 0xff)
    for (const view of [buffer.subarray(0, 100), buffer.subarray(100, 300)]) {
      const loan = buffers.lend(buffer, view)
      if (this.#keep) model.held.push({ ...loan, expected: Buffer.from(view) })
      else loan.release()
    }
    unchanged(model)
  }
  toString = () => `read(${this.#expected}, ${this.#keep ? 'keep' : 'release'})`
}

class Release implements fc.Command<Model, ReadBuffers> {
  readonly #which: number
  constructor(which: number) {
    this.#which = which
  }
  check = (model: Readonly<Model>) => model.held.length > 0
  run(model: Model): void {
    const [held] = model.held.splice(this.#which % model.held.length, 1)
    held?.release()
    unchanged(model)
  }
  toString = () => `release(${this.#which})`
}

class Retire implements fc.Command<Model, ReadBuffers> {
  check = () => true
  run(model: Model, buffers: ReadBuffers): void {
    buffers.retire()
    unchanged(model)
  }
  toString = () => 'retire()'
}

/** Somebody else uses the shared spare buffers meanwhile, and writes all over them. */
class Others implements fc.Command<Model, ReadBuffers> {
  check = () => true
  run(model: Model): void {
    const taken = Array.from({ length: 20 }, () => takeBuffer().fill(0xee))
    for (const buffer of taken) giveBuffer(buffer)
    unchanged(model)
  }
  toString = () => 'others()'
}

function unchanged({ held }: Model): void {
  for (const { bytes, expected } of held) {
    if (!bytes.equals(expected)) throw new Error('what was lent has changed')
  }
}

test('read buffers: what is lent stays as it is until it is released, whatever happens', (t) => {
  const commands = fc.commands(
    [
      fc
        .tuple(fc.constantFrom(1, 100_000, 10_000_000), fc.boolean())
        .map(([expected, keep]) => new Read(expected, keep)),
      fc.nat(20).map((which) => new Release(which)),
      fc.constant(new Retire()),
      fc.constant(new Others()),
    ],
    { maxCommands: 60 },
  )
  t.notThrows(() =>
    fc.assert(
      fc.property(commands, (sequence) => {
        fc.modelRun(() => ({ model: { held: [], fill: 0 }, real: createReadBuffers() }), sequence)
      }),
      { numRuns: 60 },
    ),
  )
})

test('read buffers: little expected is read into the small buffer, and lent as a copy', (t) => {
  const buffers = createReadBuffers()
  const small = buffers.next(16 * 1024)
  t.true(small.length < 64 * 1024)
  const { bytes } = buffers.lend(small, small.subarray(0, 10))
  t.not(bytes.buffer, small.buffer)
  t.true(buffers.isFree(small))
  t.is(buffers.next(16 * 1024), small)
})

for (const [what, expected, size] of [
  ['some', 16 * 1024 + 1, bodyBufferBytes],
  ['much', 2 * bodyBufferBytes + 1, largeBufferBytes],
] as const) {
  test(`read buffers: ${what} expected is read into two large buffers in turn, lent without a copy`, (t) => {
    const buffers = createReadBuffers()
    const first = buffers.next(expected)
    t.is(first.length, size)
    t.is(buffers.freeBytes, 2 * size)
    const loan = buffers.lend(first, first.subarray(0, 10))
    t.is(loan.bytes.buffer, first.buffer)
    t.false(buffers.isFree(first))
    t.is(buffers.freeBytes, size)
    const second = buffers.next(expected)
    t.not(second, first)
    t.true(buffers.isFree(second))
    t.is(buffers.takeFree(expected), second)
    t.is(buffers.next(expected), first)
    t.false(buffers.isFree(first))
    loan.release()
    t.true(buffers.isFree(first))
    buffers.retire()
  })
}

test('read buffers: what is given away is used by the next body of its size', (t) => {
  for (const expected of [100_000, 10_000_000]) {
    const buffers = createReadBuffers()
    const first = buffers.next(expected)
    const loan = buffers.lend(first, first.subarray(0, 10))
    buffers.retire()
    const others = createReadBuffers()
    t.not(others.next(expected), first)
    t.not(others.next(expected), first)
    others.retire()
    loan.release()
    t.is(buffers.next(expected), first)
    buffers.retire()
  }
})

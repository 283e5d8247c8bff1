import { setImmediate as turn } from 'node:timers/promises'
import test from 'ava'
import fc from 'fast-check'
import { largeBufferBytes } from '../../../src/lib/large-buffers.ts'
import { createReadBuffers, type Loan } from '../../../src/relay/read-buffers.ts'
import { createRecordPacker } from '../../../src/relay/record-packer.ts'

const kib = 1024
/** 0 to 250, over and over. */
const counting = Buffer.alloc(
  251 + 4096 * kib,
  Uint8Array.from({ length: 251 }, (_, at) => at),
)

/** A packer whose deliveries are lent to a holder that keeps them until `release`. */
function createSubject(expected = Number.POSITIVE_INFINITY) {
  const buffers = createReadBuffers()
  const held: (Loan & { readonly place: number })[] = []
  const lengths: number[] = []
  let arrived = 0
  const packer = createRecordPacker({
    buffers,
    expectedBytes: () => expected - arrived,
    deliver(buffer, length) {
      lengths.push(length)
      held.push({ ...buffers.lend(buffer, buffer.subarray(0, length)), place: arrived })
      arrived += length
    },
  })
  let next = 0
  /** One record, of bytes that go on counting where the last one stopped. */
  const receive = (length: number): void => {
    counting.copy(buffers.small, 0, next % 251, (next % 251) + length)
    next += length
    packer.add(length)
  }
  return { packer, receive, held, lengths, received: () => next, arrived: () => arrived }
}

/** True if these are the bytes that `receive` counted from `place` on. */
function isCounted(bytes: Buffer, place = 0): boolean {
  return bytes.equals(counting.subarray(place % 251, (place % 251) + bytes.length))
}

test('packer: the records of one turn are one delivery, at its end', async (t) => {
  const { receive, lengths, held } = createSubject()
  for (let record = 0; record < 5; record += 1) receive(16 * kib)
  t.deepEqual(lengths, [])
  await turn()
  t.deepEqual(lengths, [5 * 16 * kib])
  t.true(isCounted(Buffer.concat(held.map(({ bytes }) => bytes))))
})

test('packer: a full buffer is delivered at once, and a record goes on in the next', async (t) => {
  const { receive, lengths, held } = createSubject()
  for (let sent = 0; sent < largeBufferBytes; sent += 15_000) receive(15_000)
  t.deepEqual(lengths, [largeBufferBytes])
  await turn()
  t.is(lengths.length, 2)
  t.true(isCounted(Buffer.concat(held.map(({ bytes }) => bytes))))
})

test('packer: when little is expected, a record is delivered at once', (t) => {
  const { receive, lengths } = createSubject(16 * kib)
  receive(300)
  receive(200)
  t.deepEqual(lengths, [300, 200])
})

test('packer: the last record of what is expected is not kept for the end of the turn alone', async (t) => {
  const { receive, lengths } = createSubject(20 * kib)
  receive(16 * kib)
  receive(4 * kib)
  await turn()
  receive(100)
  t.deepEqual(lengths, [20 * kib, 100])
})

test('packer: flush delivers what there is once, drop forgets it', async (t) => {
  const { packer, receive, lengths } = createSubject()
  packer.flush()
  receive(1000)
  packer.flush()
  packer.flush()
  receive(500)
  packer.drop()
  await turn()
  t.deepEqual(lengths, [1000])
})

test('packer: there is room until less is free than TLS may still bring', async (t) => {
  const { packer, receive, held } = createSubject()
  t.true(packer.hasRoom)
  let packed = 0
  for (; packer.hasRoom; packed += 16 * kib) receive(16 * kib)
  t.true(packed <= 2 * largeBufferBytes - 64 * kib, `${packed} bytes`)
  t.true(packed >= 2 * largeBufferBytes - 96 * kib, `${packed} bytes`)
  await turn()
  t.false(packer.hasRoom)
  held[0]?.release()
  t.true(packer.hasRoom)
})

test('packer: what comes when nothing is free is in order, and touches nothing that is held', async (t) => {
  const { receive, held } = createSubject()
  for (let record = 0; record < 200; record += 1) receive(16 * kib)
  await turn()
  const bytes = Buffer.concat(held.map((loan) => loan.bytes))
  t.is(bytes.length, 200 * 16 * kib)
  t.true(isCounted(bytes))
})

type Step = { readonly record: number } | { readonly release: number } | 'turn'

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: 1, max: 16 * kib }).map((record) => ({ record })) },
  { weight: 2, arbitrary: fc.nat(8).map((release) => ({ release })) },
  fc.constant('turn' as const),
)

test('packer: whatever is released when, every byte arrives once, in order, and stays', async (t) => {
  const property = fc.asyncProperty(
    fc.array(step, { maxLength: 300, size: 'max' }),
    async (steps) => {
      const { packer, receive, held, arrived, received } = createSubject()
      for (const next of [...steps, 'turn' as const]) {
        if (next === 'turn') await turn()
        else if ('record' in next) receive(next.record)
        else held.splice(next.release % (held.length || 1), 1)[0]?.release()
        if (held.some(({ bytes, place }) => !isCounted(bytes, place))) return false
      }
      packer.flush()
      return arrived() === received()
    },
  )
  await t.notThrowsAsync(async () => await fc.assert(property, { numRuns: 60 }))
})

import test from 'ava'
import {
  giveLargeBuffer,
  largeBufferBytes,
  takeLargeBuffer,
} from '../../../../src/lib/large-buffers.ts'
import { createDigester } from '../../../../src/registry/digester.ts'
import { takeIn } from '../../../../src/registry/uploads/intake.ts'
import { createFeed, digestOf, pattern, sourceOf, until } from './support.ts'

const forever = () => new AbortController().signal

/** A file that keeps what it is given, as soon as the test says so. */
const createSlowFile = () => {
  const stored: Buffer[] = []
  const waiting: (() => void)[] = []
  return {
    writer: {
      async write(bytes: Uint8Array) {
        const { promise, resolve } = Promise.withResolvers<void>()
        waiting.push(resolve)
        await promise
        // Only now: whoever fills the buffer again before spoils what is stored.
        stored.push(Buffer.from(bytes))
      },
    },
    waiting,
    stored,
  }
}

const createFile = (fail?: Error) => {
  const stored: Buffer[] = []
  const write = async (bytes: Uint8Array) => {
    if (fail !== undefined) throw fail
    stored.push(Buffer.from(bytes))
  }
  return { writer: { write }, stored }
}

/** All spare buffers, so that it shows whether each was given back once. */
const drain = () => {
  const taken = new Set<Buffer>()
  for (let left = 40; left > 0; left -= 1) taken.add(takeLargeBuffer())
  return taken
}

test.serial(
  'intake: a disk that fails ends it at once, though the client stands still',
  async (t) => {
    const feed = createFeed()
    feed.push(pattern(largeBufferBytes))
    const { writer } = createFile(new Error('no disk'))
    const intake = takeIn({
      source: feed,
      writer,
      digester: undefined,
      most: Infinity,
      letGo: forever(),
    })
    await t.throwsAsync(intake, { message: 'no disk' })
    feed.fail(new Error('too late to matter'))
  },
)

test.serial('intake: what arrived before the sender broke off is written', async (t) => {
  const { writer, stored } = createFile()
  const bytes = pattern(largeBufferBytes + 100)
  const source = sourceOf(bytes, new Error('broken off'))
  await t.throwsAsync(
    takeIn({ source, writer, digester: undefined, most: Infinity, letGo: forever() }),
    { message: 'broken off' },
  )
  t.true(Buffer.concat(stored).equals(bytes))
})

test.serial('intake: asked to let go it keeps what it has, and waits for no client', async (t) => {
  const { writer, stored } = createFile()
  const controller = new AbortController()
  const feed = createFeed()
  feed.push(pattern(largeBufferBytes))
  const intake = takeIn({
    source: feed,
    writer,
    digester: undefined,
    most: Infinity,
    letGo: controller.signal,
  })
  await until(() => feed.fills === 2)
  controller.abort(new Error('let go'))
  await t.throwsAsync(intake, { message: 'let go' })
  t.true(Buffer.concat(stored).equals(pattern(largeBufferBytes)))
  feed.end()
})

test.serial('intake: asked to let go before it began it takes nothing', async (t) => {
  const feed = createFeed()
  const letGo = AbortSignal.abort(new Error('let go'))
  const { writer } = createFile()
  await t.throwsAsync(
    takeIn({ source: feed, writer, digester: undefined, most: Infinity, letGo }),
    { message: 'let go' },
  )
  t.is(feed.fills, 0)
})

test.serial('intake: more than it may be is noticed before it is written', async (t) => {
  const { writer, stored } = createFile()
  const source = sourceOf('12345')
  t.is(await takeIn({ source, writer, digester: undefined, most: 4, letGo: forever() }), 5)
  t.deepEqual(stored, [])
})

test.serial(
  'intake: the next bytes arrive while the last are written, never over them',
  async (t) => {
    const bytes = pattern(5 * largeBufferBytes + 7)
    const feed = createFeed()
    feed.push(bytes)
    feed.end()
    const file = createSlowFile()
    const digester = createDigester('sha256')
    const intake = takeIn({
      source: feed,
      writer: file.writer,
      digester,
      most: Infinity,
      letGo: forever(),
    })
    for (let step = 1; step <= 6; step += 1) {
      // One piece is being written, and the next has been asked for meanwhile.
      await until(() => file.waiting.length === step && feed.fills === step + 1)
      file.waiting[step - 1]?.()
    }
    t.is(await intake, bytes.length)
    t.true(Buffer.concat(file.stored).equals(bytes))
    t.is(digester.digest(), digestOf(bytes))
  },
)

test.serial(
  'intake: both buffers come back, one that is being filled when that is over',
  async (t) => {
    for (const buffer of drain()) giveLargeBuffer(buffer)
    const before = drain()
    const [first, second] = before
    if (first === undefined || second === undefined) return t.fail()
    giveLargeBuffer(first)
    giveLargeBuffer(second)
    const controller = new AbortController()
    const feed = createFeed()
    const { writer } = createFile()
    const intake = takeIn({
      source: feed,
      writer,
      digester: undefined,
      most: Infinity,
      letGo: controller.signal,
    })
    controller.abort(new Error('let go'))
    await t.throwsAsync(intake)
    const during = drain()
    t.is([first, second].filter((buffer) => during.has(buffer)).length, 1)
    feed.end()
    await new Promise(setImmediate)
    const after = drain()
    t.is([first, second].filter((buffer) => after.has(buffer)).length, 1)
  },
)

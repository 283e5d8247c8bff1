import { once } from 'node:events'
import net from 'node:net'
import test from 'ava'
import {
  ClientGone,
  createRequestBody,
  type RequestBody,
} from '../../../../src/http/embedded/request-body.ts'
import type { Exchange } from '../../../../src/http/exchange.ts'
import { RegistryError } from '../../../../src/lib/errors.ts'
import { until } from '../../relay/support.ts'
import { startServer } from '../support.ts'

type Limits = { idleTimeoutMs?: number; maxBodyBytes?: number }

/** A server whose one request's body is the test's to read, and the client's end of its connection. */
async function receive(head: string, { idleTimeoutMs = 60_000, maxBodyBytes }: Limits = {}) {
  const begun = Promise.withResolvers<{ exchange: Exchange; body: RequestBody }>()
  const onRequest = (expectsContinue: boolean) => (req: Exchange['req'], res: Exchange['res']) => {
    const progress = { bytesIn: 0, bytesOut: 0 }
    const exchange = {
      id: '',
      req,
      res,
      startedAt: 0,
      expectsContinue,
      headers: () => [],
      progress,
    }
    begun.resolve({ exchange, body: createRequestBody(exchange, { idleTimeoutMs, maxBodyBytes }) })
  }
  const started = await startServer(onRequest(false))
  started.server.on('checkContinue', onRequest(true))
  const socket = net.connect(started.port, '127.0.0.1')
  let text = ''
  socket
    .on('error', () => {})
    .on('data', (bytes) => {
      text += bytes.toString('latin1')
    })
  await once(socket, 'connect')
  socket.write(`PUT / HTTP/1.1\r\nHost: a\r\n${head}\r\n\r\n`)
  const { exchange, body } = await begun.promise
  return {
    exchange,
    body,
    socket,
    text: () => text,
    async [Symbol.asyncDispose]() {
      socket.destroy()
      await started[Symbol.asyncDispose]()
    },
  }
}

const sized = (length: number): string => `Content-Length: ${length}`
const chunked = 'Transfer-Encoding: chunked'

/** Fills buffers of `size` until there is nothing left, and puts together what came. */
async function readAll(body: RequestBody, size: number): Promise<Buffer> {
  const pieces: Buffer[] = []
  for (;;) {
    const buffer = Buffer.alloc(size)
    const bytes = await body.fill(buffer)
    pieces.push(buffer.subarray(0, bytes))
    if (bytes < size) return Buffer.concat(pieces)
  }
}

const pattern = (length: number): Buffer => Buffer.alloc(length, 'some bytes that repeat, ')

for (const [kind, end] of [
  ['leaves', (socket: net.Socket) => socket.destroy()],
  ['is reset', (socket: net.Socket) => socket.resetAndDestroy()],
  ['only closes its side', (socket: net.Socket) => socket.end()],
] as const) {
  test(`request body: a client that ${kind} too early is gone, after what arrived was handed out`, async (t) => {
    await using given = await receive(sized(100))
    given.socket.write('half')
    const filling = given.body.fill(Buffer.alloc(100))
    await until(() => given.exchange.progress.bytesIn === 4)
    end(given.socket)
    t.is(await filling, 4)
    await t.throwsAsync(given.body.fill(Buffer.alloc(100)), { instanceOf: ClientGone })
    await t.throwsAsync(given.body.fill(Buffer.alloc(100)), { instanceOf: ClientGone })
  })
}

test('request body: what arrived before anybody asked is not lost when the client leaves', async (t) => {
  await using given = await receive(sized(100_000))
  given.socket.write(pattern(50_000))
  const { req } = given.exchange
  await until(() => req.readableLength === 50_000)
  given.socket.destroy()
  await until(() => req.destroyed)
  t.deepEqual(Buffer.from(await take(given.body, 20_000)), pattern(50_000).subarray(0, 20_000))
  const left = Buffer.alloc(100_000)
  t.is(await given.body.fill(left), 30_000)
  t.deepEqual(left.subarray(0, 30_000), pattern(50_000).subarray(20_000))
  t.is(given.exchange.progress.bytesIn, 50_000)
  await t.throwsAsync(given.body.fill(left), { instanceOf: ClientGone })
})

async function take(body: RequestBody, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length)
  return buffer.subarray(0, await body.fill(buffer))
}

test('request body: one made after the client has left is broken from the start', async (t) => {
  await using given = await receive(sized(10))
  given.socket.destroy()
  await until(() => given.exchange.req.destroyed)
  await until(() => given.exchange.req.closed)
  const late = createRequestBody(given.exchange, { idleTimeoutMs: 1000, maxBodyBytes: undefined })
  await t.throwsAsync(late.fill(Buffer.alloc(10)), { instanceOf: ClientGone })
})

test('request body: a chunked body without its end never looks complete', async (t) => {
  await using given = await receive(chunked)
  given.socket.end('4\r\nhalf\r\n')
  t.is((await take(given.body, 10)).toString(), 'half')
  await t.throwsAsync(given.body.fill(Buffer.alloc(10)), { instanceOf: ClientGone })
})

test('request body: a client that stands still is timed out, after what arrived was handed out', async (t) => {
  await using given = await receive(sized(100), { idleTimeoutMs: 50 })
  given.socket.write('half')
  await until(() => given.exchange.req.readableLength === 4)
  t.is((await take(given.body, 100)).toString(), 'half')
  const error = await t.throwsAsync(given.body.fill(Buffer.alloc(100)), {
    instanceOf: RegistryError,
  })
  t.is(error?.code, 'REQUEST_TIMEOUT')
})

test('request body: the time in which nobody asks for bytes is not held against the client', async (t) => {
  await using given = await receive(sized(8), { idleTimeoutMs: 200 })
  given.socket.write('half')
  t.is((await take(given.body, 4)).toString(), 'half')
  await new Promise((resolve) => setTimeout(resolve, 500))
  given.socket.write('full')
  await until(() => given.exchange.req.readableLength === 4)
  t.is((await take(given.body, 8)).toString(), 'full')
  t.is(await given.body.fill(Buffer.alloc(8)), 0)
})

test('request body: one that says nothing of its length ends when it gets too long', async (t) => {
  await using given = await receive(chunked, { maxBodyBytes: 6 })
  given.socket.write('4\r\nfour\r\n')
  const buffer = Buffer.alloc(10)
  const filling = given.body.fill(buffer)
  await until(() => given.exchange.progress.bytesIn === 4)
  given.socket.write('4\r\nmore\r\n')
  t.is(await filling, 4)
  const error = await t.throwsAsync(given.body.fill(buffer), { instanceOf: RegistryError })
  t.is(error?.code, 'REQUEST_TOO_LARGE')
})

for (const size of [1, 7, 4096, 65_536, 300_000]) {
  test(`request body: arrives whole and in order through buffers of ${size} bytes`, async (t) => {
    const content = pattern(size === 1 ? 500 : 700_001)
    await using given = await receive(sized(content.length))
    given.socket.write(content)
    t.true((await readAll(given.body, size)).equals(content))
    t.is(given.exchange.progress.bytesIn, content.length)
    t.is(await given.body.fill(Buffer.alloc(size)), 0)
  })
}

test('request body: of several chunks is put together in one buffer', async (t) => {
  await using given = await receive(chunked)
  for (const piece of ['one', ' two', ' three', ' four'])
    given.socket.write(`${piece.length.toString(16)}\r\n${piece}\r\n`)
  given.socket.write('0\r\n\r\n')
  t.is((await readAll(given.body, 100)).toString(), 'one two three four')
})

test('request body: while nobody asks, the sender has to wait', async (t) => {
  await using given = await receive(sized(64 * 1024 * 1024))
  given.socket.write(Buffer.alloc(64 * 1024 * 1024))
  await given.body.fill(Buffer.alloc(1000))
  let before = -1
  while (given.socket.bytesWritten - given.socket.writableLength !== before) {
    before = given.socket.bytesWritten - given.socket.writableLength
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  t.true(given.exchange.req.readableLength <= 256 * 1024, `${given.exchange.req.readableLength}`)
  t.true(given.exchange.progress.bytesIn <= 128 * 1024, `${given.exchange.progress.bytesIn}`)
})

test('request body: a client that asks first is told once to go on, and only by accept', async (t) => {
  await using given = await receive(`${sized(4)}\r\nExpect: 100-continue`)
  await new Promise((resolve) => setTimeout(resolve, 50))
  t.is(given.text(), '')
  given.body.accept()
  given.body.accept()
  await until(() => given.text().includes('\r\n\r\n'))
  given.socket.write('done')
  t.is((await take(given.body, 4)).toString(), 'done')
  t.is(given.text(), 'HTTP/1.1 100 Continue\r\n\r\n')
})

test('request body: who did not ask first is not told to go on', async (t) => {
  await using given = await receive(sized(4))
  given.body.accept()
  given.socket.write('done')
  t.is((await take(given.body, 4)).toString(), 'done')
  given.exchange.res.end()
  await until(() => given.text().includes('\r\n\r\n'))
  t.regex(given.text(), /^HTTP\/1\.1 200 /)
})

test('request body: one that is given up leaves no listener, no waiting caller and a connection that works', async (t) => {
  await using given = await receive(sized(200_000))
  const { req, res } = given.exchange
  const buffer = Buffer.alloc(300_000)
  const filling = given.body.fill(buffer)
  given.body[Symbol.dispose]()
  await t.throwsAsync(filling, { message: /abandoned/ })
  for (const event of ['data', 'end', 'close']) t.is(req.listenerCount(event), 0, event)
  given.socket.write(Buffer.alloc(200_000, 1))
  await until(() => req.complete)
  t.true(buffer.every((byte) => byte === 0))
  res.end()
  await until(() => given.text().includes('\r\n\r\n'))
})

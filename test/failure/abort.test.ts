import type { IncomingMessage } from 'node:http'
import test from 'ava'
import { startHttpBackend, startRawBackend } from '../support/backends.ts'
import { startFront } from '../support/front.ts'
import { openRawClient } from '../support/raw-client.ts'

const upload = '/v2/team/app/blobs/uploads/1234?_state=abc%3D'
const blob = `/v2/team/app/blobs/sha256:${'a'.repeat(64)}`

/** How a backend saw a request end. */
function outcomeOf(req: IncomingMessage): Promise<'complete' | 'aborted'> {
  return new Promise((resolve) => {
    req.on('error', () => {})
    req.on('close', () => resolve(req.complete ? 'complete' : 'aborted'))
    req.resume()
  })
}

const uploads = test.macro({
  title: (_, framing: string) =>
    `client: leaving in the middle of a ${framing} upload aborts it at the backend`,
  async exec(t, _framing: string, head: string, part: string) {
    const seen = Promise.withResolvers<'complete' | 'aborted'>()
    await using backend = await startHttpBackend((req) => void outcomeOf(req).then(seen.resolve))
    await using front = await startFront(backend.url)
    using client = await openRawClient(front)
    client.send(`PATCH ${upload} HTTP/1.1\r\nHost: h\r\n${head}\r\n\r\n${part}`)
    await waitUntil(() => part.length > 0)
    client.socket.end()
    client.socket.destroy()
    t.is(await seen.promise, 'aborted')
    await waitUntil(() => front.lines.some(({ msg }) => msg === 'request'))
    t.is(front.lines.find(({ msg }) => msg === 'request')?.['status'], 499)
  },
})
test(uploads, 'sized', 'Content-Length: 1000', 'x'.repeat(500))
test(uploads, 'chunked', 'Transfer-Encoding: chunked', `1f4\r\n${'x'.repeat(500)}\r\n`)

test('client: leaving in the middle of a download closes the upstream connection', async (t) => {
  const closed = Promise.withResolvers<void>()
  await using backend = await startRawBackend((socket) => {
    socket.once('data', () => {
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n')
      const more = (): void => void (socket.writable && socket.write(Buffer.alloc(65536), more))
      more()
    })
    socket.on('close', () => closed.resolve())
  })
  await using front = await startFront(backend.url)
  using client = await openRawClient(front)
  client.send(`GET ${blob} HTTP/1.1\r\nHost: h\r\n\r\n`)
  await client.waitFor(/200 OK/)
  client.socket.destroy()
  await closed.promise
  await waitUntil(() => front.lines.some(({ msg }) => msg === 'request'))
  t.is(front.lines.find(({ msg }) => msg === 'request')?.['status'], 499)
})

const brokenDownloads = test.macro({
  title: (_, framing: string) =>
    `backend: breaking off in a ${framing} answer never looks complete to the client`,
  async exec(t, _framing: string, answer: string) {
    await using backend = await startRawBackend((socket) => {
      socket.once('data', () => socket.write(answer, () => socket.resetAndDestroy()))
    })
    await using front = await startFront(backend.url)
    using client = await openRawClient(front)
    client.send(`GET ${blob} HTTP/1.1\r\nHost: h\r\n\r\n`)
    const received = await client.ended()
    t.regex(received, /^HTTP\/1\.1 200 OK\r\n/)
    t.regex(
      received,
      /x{100}(?:\r\n)?$/,
      'the bytes that came are passed on, and no end mark after them',
    )
    await waitUntil(() => front.lines.some(({ msg }) => msg === 'request'))
    t.like(
      front.lines.find(({ msg }) => msg === 'request'),
      { status: 200, error: 'UPSTREAM_UNREACHABLE' },
    )
  },
})
test(brokenDownloads, 'sized', `HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n${'x'.repeat(100)}`)
test(
  brokenDownloads,
  'chunked',
  `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n${'x'.repeat(100)}`,
)

test('backend: a sized answer that ends early with a clean close never looks complete either', async (t) => {
  await using backend = await startRawBackend((socket) => {
    socket.once('data', () =>
      socket.end(`HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n${'x'.repeat(100)}`),
    )
  })
  await using front = await startFront(backend.url)
  using client = await openRawClient(front)
  client.send(`GET ${blob} HTTP/1.1\r\nHost: h\r\n\r\n`)
  t.regex(await client.ended(), /Content-Length: 500\r\n[\s\S]*\r\n\r\nx{100}$/)
})

const brokenUploads = test.macro({
  title: (_, framing: string) =>
    `backend: breaking off in a ${framing} upload is a 502 in registry JSON`,
  async exec(t, _framing: string, head: string, part: string) {
    await using backend = await startRawBackend((socket) => {
      socket.once('data', () => socket.resetAndDestroy())
    })
    await using front = await startFront(backend.url)
    using client = await openRawClient(front)
    client.send(`PATCH ${upload} HTTP/1.1\r\nHost: h\r\n${head}\r\n\r\n${part}`)
    const received = await client.ended()
    t.regex(received, /^HTTP\/1\.1 502 /)
    t.regex(received, /Content-Type: application\/json\r\n/)
    t.regex(received, /\{"errors":\[\{"code":"UPSTREAM_UNREACHABLE"/)
  },
})
test(brokenUploads, 'sized', 'Content-Length: 1000000', 'x'.repeat(500))
test(brokenUploads, 'chunked', 'Transfer-Encoding: chunked', `1f4\r\n${'x'.repeat(500)}\r\n`)

test('client: a malformed chunk is a 400, and the backend never sees a complete request', async (t) => {
  const seen = Promise.withResolvers<'complete' | 'aborted'>()
  await using backend = await startHttpBackend((req) => void outcomeOf(req).then(seen.resolve))
  await using front = await startFront(backend.url)
  using client = await openRawClient(front)
  client.send(
    `PATCH ${upload} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n`,
  )
  client.send('nonsense\r\n')
  t.regex(await client.ended(), /^HTTP\/1\.1 400 [\s\S]*"code":"REQUEST_INVALID"/)
  t.is(await seen.promise, 'aborted')
})

async function waitUntil(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve))
}

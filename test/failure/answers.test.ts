import type http from 'node:http'
import test from 'ava'
import { startHttpBackend, startRawBackend } from '../support/backends.ts'
import { startFront } from '../support/front.ts'
import { openRawClient } from '../support/raw-client.ts'

const upload = '/v2/team/app/blobs/uploads/1234?_state=abc%3D'
const blob = `/v2/team/app/blobs/sha256:${'a'.repeat(64)}`
const gigabyte = 1_000_000_000

const malformed = test.macro({
  title: (_, what: string) =>
    `backend: an answer with ${what} is a 502, and its connection is not used again`,
  async exec(t, _what: string, answer: string) {
    let connections = 0
    await using backend = await startRawBackend((socket) => {
      connections += 1
      socket.on('data', () => socket.write(answer))
    })
    await using front = await startFront(backend.url)
    using client = await openRawClient(front)
    client.send(`GET ${blob} HTTP/1.1\r\nHost: h\r\n\r\n`)
    await client.waitFor(/^HTTP\/1\.1 502 [\s\S]*"code":"UPSTREAM_INVALID"[\s\S]*\}\]\}/)
    client.send(`GET ${blob} HTTP/1.1\r\nHost: h\r\n\r\n`)
    await client.waitFor(/502 [\s\S]*\}\]\}[\s\S]*502 [\s\S]*\}\]\}/)
    t.is(connections, 2)
  },
})
test(malformed, 'no status line', 'hello\r\n\r\n')
test(malformed, 'a header line without a colon', 'HTTP/1.1 200 OK\r\nnonsense\r\n\r\n')
test(
  malformed,
  'two lengths',
  'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab',
)
test(
  malformed,
  'a length beside chunked',
  'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n',
)
test(
  malformed,
  'an unknown transfer coding',
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc',
)
test(malformed, 'an unasked switch of protocols', 'HTTP/1.1 101 Switching Protocols\r\n\r\n')
test(
  malformed,
  'endless headers',
  `HTTP/1.1 200 OK\r\n${'X-Long: aaaaaaaaaaaaaaaa\r\n'.repeat(4000)}`,
)

test('backend: bytes after a whole answer are not taken for the next one', async (t) => {
  let connections = 0
  await using backend = await startRawBackend((socket) => {
    connections += 1
    const mine = connections
    socket.on('data', () => {
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Connection: ${mine}\r\n\r\nok`)
      if (mine === 1) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil')
    })
  })
  await using front = await startFront(backend.url)
  using client = await openRawClient(front)
  client.send(`GET ${blob} HTTP/1.1\r\nHost: h\r\n\r\n`)
  await client.waitFor(/X-Connection: 1[\s\S]*\r\n\r\nok/)
  client.send(`GET ${blob} HTTP/1.1\r\nHost: h\r\n\r\n`)
  await client.waitFor(/X-Connection: 2[\s\S]*\r\n\r\nok/)
  t.notRegex(client.received, /evil/)
})

const early = test.macro({
  title: (_, status: string, framing: string, then: string) =>
    `backend: a ${status} in the middle of a ${framing} upload reaches the client when the backend ${then}`,
  async exec(t, status: string, framing: string, then: 'reads on' | 'closes') {
    const body = '{"errors":[{"code":"DENIED"}]}'
    await using backend = await startRawBackend((socket) => {
      socket.once('data', () => {
        const end = then === 'closes' ? 'Connection: close\r\n' : ''
        socket.write(`HTTP/1.1 ${status} No\r\n${end}Content-Length: ${body.length}\r\n\r\n${body}`)
        if (then === 'closes') socket.end()
        else socket.resume()
      })
    })
    await using front = await startFront(backend.url)
    const sent = Buffer.alloc(65536, 'x')
    const { port, ca } = front
    const { request } = await import('node:https')
    const headers: http.OutgoingHttpHeaders =
      framing === 'sized' ? { 'content-length': gigabyte } : {}
    const answer = Promise.withResolvers<http.IncomingMessage>()
    const req = request({
      port,
      ca,
      host: 'localhost',
      family: 4,
      method: 'PATCH',
      path: upload,
      headers,
    })
    req.on('response', answer.resolve).on('error', () => {})
    const pump = (): void => void (answered || req.write(sent, pump))
    let answered = false
    pump()
    const res = await answer.promise
    answered = true
    let text = ''
    for await (const chunk of res) text += chunk
    t.is(res.statusCode, Number(status))
    t.is(text, body)
    t.is(res.headers.connection, 'close')
    req.destroy()
  },
})
for (const status of ['401', '413']) {
  for (const framing of ['sized', 'chunked']) {
    test(early, status, framing, 'reads on')
    test(early, status, framing, 'closes')
  }
}

test('backend: nobody listening is a 502 in registry JSON that says when to try again', async (t) => {
  const backend = await startHttpBackend(() => {})
  await backend[Symbol.asyncDispose]()
  await using front = await startFront(backend.url)
  using client = await openRawClient(front)
  client.send(`GET /v2/ HTTP/1.1\r\nHost: h\r\n\r\n`)
  await client.waitFor(/^HTTP\/1\.1 502 [\s\S]*Retry-After: 5\r\n[\s\S]*"UPSTREAM_UNREACHABLE"/)
  client.send(`GET /readyz HTTP/1.1\r\nHost: h\r\n\r\n`)
  await client.waitFor(/503 Service Unavailable/)
  client.send(`GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n`)
  await client.waitFor(/200 OK/)
  t.pass()
})

test('backend: never answering is a 504', async (t) => {
  await using backend = await startRawBackend((socket) => void socket.resume())
  await using front = await startFront(backend.url, { 'upstream.timeouts': { response: '200ms' } })
  using client = await openRawClient(front)
  client.send(`GET ${blob} HTTP/1.1\r\nHost: h\r\n\r\n`)
  await client.waitFor(/^HTTP\/1\.1 504 [\s\S]*"UPSTREAM_TIMEOUT"/)
  t.pass()
})

test('backend: a body that stops moving is broken off', async (t) => {
  await using backend = await startRawBackend((socket) => {
    socket.once('data', () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc'))
  })
  await using front = await startFront(backend.url, { 'http.timeouts': { idle: '200ms' } })
  using client = await openRawClient(front)
  client.send(`GET ${blob} HTTP/1.1\r\nHost: h\r\n\r\n`)
  t.regex(await client.ended(), /abc$/)
})

test('client: an upload that stops moving is a 408', async (t) => {
  await using backend = await startRawBackend((socket) => void socket.resume())
  await using front = await startFront(backend.url, { 'http.timeouts': { idle: '200ms' } })
  using client = await openRawClient(front)
  client.send(`PATCH ${upload} HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nabc`)
  t.regex(await client.ended(), /^HTTP\/1\.1 408 [\s\S]*"REQUEST_TIMEOUT"/)
})

test('backend: closing a kept connection under a request without a body is tried once more', async (t) => {
  let connections = 0
  await using backend = await startRawBackend((socket) => {
    connections += 1
    let requests = 0
    socket.on('data', () => {
      requests += 1
      if (requests === 1) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
      else socket.resetAndDestroy()
    })
  })
  await using front = await startFront(backend.url)
  using client = await openRawClient(front)
  client.send(`GET /v2/ HTTP/1.1\r\nHost: h\r\n\r\n`)
  await client.waitFor(/ok$/)
  client.send(`GET /v2/ HTTP/1.1\r\nHost: h\r\n\r\n`)
  await client.waitFor(/ok[\s\S]*200 OK[\s\S]*ok$/)
  t.is(connections, 2)
})

test('backend: closing a fresh connection without an answer is a 502, not tried again', async (t) => {
  let connections = 0
  await using backend = await startRawBackend((socket) => {
    connections += 1
    socket.once('data', () => socket.end())
  })
  await using front = await startFront(backend.url)
  using client = await openRawClient(front)
  client.send(`GET /v2/ HTTP/1.1\r\nHost: h\r\n\r\n`)
  await client.waitFor(/^HTTP\/1\.1 502 /)
  t.is(connections, 1)
})

test('backend: closing a kept connection under an upload is a 502: a body is sent once only', async (t) => {
  let bodies = 0
  await using backend = await startRawBackend((socket) => {
    let requests = 0
    socket.on('data', (bytes) => {
      if (bytes.includes('PATCH')) bodies += 1
      requests += 1
      if (requests === 1) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
      else socket.resetAndDestroy()
    })
  })
  await using front = await startFront(backend.url)
  using client = await openRawClient(front)
  client.send(`GET /v2/ HTTP/1.1\r\nHost: h\r\n\r\n`)
  await client.waitFor(/ok$/)
  client.send(`PATCH ${upload} HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc`)
  await client.waitFor(/502 Bad Gateway/)
  t.is(bodies, 1)
})

import { once } from 'node:events'
import http, { type IncomingMessage } from 'node:http'
import test from 'ava'
import fc from 'fast-check'
import { openConnection } from '../../../src/relay/connection.ts'
import { bodyOf, exchange, headOf, idle, settled, startRawServer, until } from './support.ts'

/** Node's server, strict about framing, answers with what it received. */
async function startEcho() {
  const requests: IncomingMessage[] = []
  const problems: string[] = []
  const server = http.createServer((req, res) => {
    requests.push(req)
    req.on('error', () => {}) // tests break requests on purpose
    const pieces: Buffer[] = []
    req.on('data', (piece: Buffer) => pieces.push(piece))
    req.on('end', () => {
      res.setHeader('X-Headers', JSON.stringify(req.rawHeaders))
      res.end(Buffer.concat(pieces))
    })
  })
  server.on('clientError', (error, socket) => {
    problems.push(error.message)
    socket.destroy()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('not listening')
  return {
    requests,
    problems,
    target: { address: { host: '127.0.0.1', port: address.port }, tls: undefined },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

/** Memory of its own, as TLS hands it over: the connection may free it. */
const own = (bytes: Uint8Array): Buffer => Buffer.from(new Uint8Array(bytes).buffer)

const pieces = fc.array(
  fc.oneof(
    fc.uint8Array({ maxLength: 40 }),
    fc.nat(70_000).map((size) => new Uint8Array(size).fill(size)),
    fc
      .constantFrom(262_132, 262_133, 262_144, 524_264, 600_000)
      .map((size) => new Uint8Array(size).fill(7)),
  ),
  { maxLength: 8 },
)

for (const kind of ['sized', 'chunked'] as const) {
  test(`request body: ${kind}, whatever the pieces, the upstream receives the same bytes`, async (t) => {
    await using echo = await startEcho()
    const connection = await openConnection(echo.target, idle, 5000)
    await fc.assert(
      fc.asyncProperty(pieces, fc.boolean(), async (parts, together) => {
        const bytes = Buffer.concat(parts)
        const framing = kind === 'sized' ? { kind, length: bytes.length } : { kind }
        const answer = exchange(connection, headOf({ method: 'PATCH', framing }))
        for (const part of parts) {
          connection.write(own(part))
          if (!together) await new Promise(setImmediate)
        }
        connection.end()
        await settled(answer)
        t.is(answer.error, undefined)
        t.is(Buffer.compare(bodyOf(answer), bytes), 0)
        t.true(echo.requests.at(-1)?.complete)
      }),
      { numRuns: 60 },
    )
    t.deepEqual(echo.problems, [])
    connection.destroy()
  })
}

test('request body: exactly one framing header goes with it, and none without a body', async (t) => {
  await using echo = await startEcho()
  const connection = await openConnection(echo.target, idle, 5000)
  for (const [framing, expected] of [
    [{ kind: 'none' }, []],
    [{ kind: 'sized', length: 0 }, ['Content-Length', '0']],
    [{ kind: 'sized', length: 1 }, ['Content-Length', '1']],
    [{ kind: 'chunked' }, ['Transfer-Encoding', 'chunked']],
  ] as const) {
    const answer = exchange(connection, headOf({ method: 'POST', framing }))
    if (framing.kind === 'chunked' || (framing.kind === 'sized' && framing.length > 0)) {
      connection.write(own(Buffer.from('x')))
    }
    connection.end()
    await settled(answer)
    t.deepEqual(echo.requests.at(-1)?.rawHeaders, ['Host', 'registry.example', ...expected])
  }
  connection.destroy()
})

test('request body: memory that others share is left alone', async (t) => {
  await using echo = await startEcho()
  const connection = await openConnection(echo.target, idle, 5000)
  const shared = own(Buffer.from('before the piece after'))
  const piece = shared.subarray(7, 16)
  const answer = exchange(
    connection,
    headOf({ method: 'PUT', framing: { kind: 'sized', length: 9 } }),
  )
  connection.write(piece)
  connection.end()
  await settled(answer)
  t.is(shared.toString(), 'before the piece after')
  connection.destroy()
})

for (const [what, length, sent] of [
  ['short', 10, 9],
  ['empty', 10, 0],
  ['long', 10, 11],
] as const) {
  test(`request body: a sized body that is ${what} breaks the connection and is never complete`, async (t) => {
    await using echo = await startEcho()
    const connection = await openConnection(echo.target, idle, 5000)
    const answer = exchange(
      connection,
      headOf({ method: 'PUT', framing: { kind: 'sized', length } }),
    )
    connection.write(own(Buffer.alloc(Math.min(sent, 1))))
    await until(() => echo.requests.length === 1)
    if (sent > 1) connection.write(own(Buffer.alloc(sent - 1)))
    connection.end()
    await settled(answer)
    t.is(answer.error?.code, 'REQUEST_INVALID')
    t.true(connection.destroyed)
    const [request] = echo.requests
    await until(() => request?.destroyed === true)
    if (sent < length) t.false(request?.complete)
  })
}

for (const kind of ['sized', 'chunked'] as const) {
  test(`request body: ${kind}, a destroyed connection is an aborted request upstream`, async (t) => {
    await using echo = await startEcho()
    const connection = await openConnection(echo.target, idle, 5000)
    const framing = kind === 'sized' ? { kind, length: 100 } : { kind }
    const answer = exchange(connection, headOf({ method: 'PATCH', framing }))
    connection.write(own(Buffer.alloc(50)))
    await until(() => echo.requests.length === 1)
    connection.destroy()
    const [request] = echo.requests
    await until(() => request?.destroyed === true)
    t.false(request?.complete)
    t.deepEqual(answer.calls, [])
    t.notThrows(() => connection.write(own(Buffer.alloc(1))))
    t.notThrows(() => connection.end())
  })
}

test('request body: an answer that overtakes it arrives, and the connection ends with it', async (t) => {
  const idles: unknown[] = []
  await using server = await startRawServer((socket) => {
    socket.once('data', () => {
      socket.write('HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig')
    })
  })
  const events = { ...idle, onIdle: (connection: unknown) => idles.push(connection) }
  const connection = await openConnection(server.target, events, 5000)
  const answer = exchange(connection, headOf({ method: 'PUT', framing: { kind: 'chunked' } }))
  connection.write(own(Buffer.alloc(1000)))
  await settled(answer)
  t.is(answer.head?.status, 413)
  t.is(bodyOf(answer).toString(), 'big')
  t.true(connection.destroyed)
  t.deepEqual(idles, [])
})

test('request body: an early answer arrives though the upstream closes over what it did not read', async (t) => {
  await using server = await startRawServer((socket) => {
    socket.once('data', () => {
      socket.pause()
      // Unread bytes turn this close into a reset that races with the answer.
      socket.end(
        'HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig',
        () => socket.destroy(),
      )
    })
  })
  for (let round = 0; round < 30; round += 1) {
    const connection = await openConnection(server.target, idle, 5000)
    const answer = exchange(connection, headOf({ method: 'PUT', framing: { kind: 'chunked' } }))
    while (!answer.ended && answer.error === undefined) {
      connection.write(own(Buffer.alloc(20_000)))
      await new Promise(setImmediate)
    }
    t.is(answer.head?.status, 413, `round ${round}: ${answer.error?.code} ${answer.error?.cause}`)
  }
})

test('request body: a stalled upstream stops the writer, and starts it again when it reads', async (t) => {
  await using server = await startRawServer((socket) => socket.pause())
  const connection = await openConnection(server.target, idle, 5000)
  const answer = exchange(connection, headOf({ method: 'PATCH', framing: { kind: 'chunked' } }))
  await until(() => server.sockets.length === 1)
  let written = 0
  while (connection.write(own(Buffer.alloc(64 * 1024)))) {
    written += 64 * 1024
    t.true(written < 64 * 1024 * 1024, 'it never stops')
    await new Promise(setImmediate)
  }
  const drains = answer.drains
  await new Promise(setImmediate)
  t.is(answer.drains, drains, 'no drain while the upstream stands still')
  server.sockets[0]?.resume()
  await until(() => answer.drains > drains)
  t.true(connection.write(own(Buffer.from('x'))))
  connection.destroy()
})

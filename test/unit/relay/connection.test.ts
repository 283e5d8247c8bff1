import { once } from 'node:events'
import { mkdtempDisposable } from 'node:fs/promises'
import http from 'node:http'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { RegistryError } from '../../../src/lib/errors.ts'
import { type Connection, openConnection } from '../../../src/relay/connection.ts'
import {
  answerHeads,
  bodyOf,
  exchange,
  headOf,
  idle,
  settled,
  startRawServer,
  until,
} from './support.ts'

const sized = (text: string): string =>
  `HTTP/1.1 200 OK\r\nContent-Length: ${text.length}\r\n\r\n${text}`

test('connection: a refused connect is UPSTREAM_UNREACHABLE with its cause', async (t) => {
  const server = await startRawServer(() => {})
  await server[Symbol.asyncDispose]()
  const error = await t.throwsAsync(openConnection(server.target, idle, 5000), {
    instanceOf: RegistryError,
  })
  t.is(error?.code, 'UPSTREAM_UNREACHABLE')
  t.regex(String(error?.cause), /ECONNREFUSED/)
})

test('connection: a name that does not exist is UPSTREAM_UNREACHABLE', async (t) => {
  const target = { address: { host: 'registry.invalid', port: 5000 }, tls: undefined }
  const error = await t.throwsAsync(openConnection(target, idle, 10_000), {
    instanceOf: RegistryError,
  })
  t.is(error?.code, 'UPSTREAM_UNREACHABLE')
})

test('connection: a socket file that does not exist is UPSTREAM_UNREACHABLE', async (t) => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'tidegate-relay-'))
  const target = { address: { path: join(folder.path, 'absent.sock') }, tls: undefined }
  const error = await t.throwsAsync(openConnection(target, idle, 5000), {
    instanceOf: RegistryError,
  })
  t.is(error?.code, 'UPSTREAM_UNREACHABLE')
})

test('connection: an upstream that never finishes the handshake is UPSTREAM_TIMEOUT', async (t) => {
  await using server = await startRawServer((socket) => socket.resume())
  const target = { ...server.target, tls: {} }
  const error = await t.throwsAsync(openConnection(target, idle, 50), {
    instanceOf: RegistryError,
  })
  t.is(error?.code, 'UPSTREAM_TIMEOUT')
  await until(() => server.sockets[0]?.destroyed === true)
})

test('connection: head, headers and body arrive as they were sent, over a unix socket too', async (t) => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'tidegate-relay-'))
  const path = join(folder.path, 'registry.sock')
  let seen = ''
  const server = net.createServer((socket) => {
    socket.on('data', (bytes) => {
      seen += bytes.toString('latin1')
      if (seen.endsWith('\r\n\r\n')) socket.write(sized('{}'))
    })
  })
  server.listen(path)
  await once(server, 'listening')
  const connection = await openConnection({ address: { path }, tls: undefined }, idle, 5000)
  const target = '/v2/a%2Fb/blobs/uploads/?_state=x%3D%3d+~&a//b'
  const rawHeaders = ['Host', 'registry.example', 'x-odd', 'd\xe9j\xe0', 'X-Odd', '2']
  const answer = await settled(
    exchange(connection, headOf({ method: 'DELETE', target, rawHeaders })),
  )
  t.is(bodyOf(answer).toString(), '{}')
  t.is(
    seen,
    `DELETE ${target} HTTP/1.1\r\nHost: registry.example\r\nx-odd: d\xe9j\xe0\r\nX-Odd: 2\r\n\r\n`,
  )
  connection.destroy()
  server.close()
  await once(server, 'close')
})

test('connection: it carries one exchange after another, and says that it was reused', async (t) => {
  const events: string[] = []
  await using server = await startRawServer(answerHeads(sized('one'), sized('two')))
  const connection = await openConnection(
    server.target,
    { onIdle: () => events.push('idle'), onClose: () => events.push('close') },
    5000,
  )
  const first = await settled(exchange(connection, headOf()))
  t.false(connection.reused)
  const second = await settled(exchange(connection, headOf()))
  t.true(connection.reused)
  t.deepEqual([bodyOf(first).toString(), bodyOf(second).toString()], ['one', 'two'])
  t.deepEqual(events, ['idle', 'idle'])
  connection.destroy()
  await until(() => events.includes('close'))
  t.is(server.sockets.length, 1)
})

for (const [what, answer] of [
  ['a body until the end of the connection', 'HTTP/1.1 200 OK\r\n\r\nhello'],
  ['Connection: close', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello'],
  ['HTTP/1.0', 'HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello'],
  ['bytes after the answer', `${sized('hello')}more`],
] as const) {
  test(`connection: after ${what} it is over`, async (t) => {
    const idles: Connection[] = []
    await using server = await startRawServer((socket) => {
      socket.once('data', () => {
        socket.write(answer)
        if (!answer.includes('Content-Length')) socket.end()
      })
    })
    const events = { ...idle, onIdle: (connection: Connection) => idles.push(connection) }
    const connection = await openConnection(server.target, events, 5000)
    const { body } = await settled(exchange(connection, headOf()))
    t.is(Buffer.concat(body).toString(), 'hello')
    t.true(connection.destroyed)
    t.deepEqual(idles, [])
  })
}

test('connection: the server that closes an idle connection is noticed', async (t) => {
  let closed = false
  await using server = await startRawServer(answerHeads(sized('x')))
  const onClose = () => {
    closed = true
  }
  const connection = await openConnection(server.target, { ...idle, onClose }, 5000)
  await settled(exchange(connection, headOf()))
  server.sockets[0]?.end()
  await until(() => closed)
  t.true(connection.destroyed)
})

test('connection: bytes that nobody asked for close an idle connection', async (t) => {
  let closed = false
  await using server = await startRawServer(answerHeads(sized('x')))
  const onClose = () => {
    closed = true
  }
  const connection = await openConnection(server.target, { ...idle, onClose }, 5000)
  await settled(exchange(connection, headOf()))
  server.sockets[0]?.write(sized('smuggled'))
  await until(() => closed)
  t.true(connection.destroyed)
})

for (const [what, text, code, answered] of [
  ['closes without a word', '', 'UPSTREAM_INVALID', false],
  ['closes within its head', 'HTTP/1.1 200 OK\r\nX', 'UPSTREAM_INVALID', true],
  [
    'closes within a sized body',
    'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhell',
    'UPSTREAM_INVALID',
    true,
  ],
  [
    'closes within a chunked body',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhell',
    'UPSTREAM_INVALID',
    true,
  ],
  ['talks another protocol', 'SSH-2.0-OpenSSH\r\n\r\n', 'UPSTREAM_INVALID', true],
] as const) {
  test(`connection: an upstream that ${what} fails the exchange once`, async (t) => {
    await using server = await startRawServer((socket) => {
      socket.once('data', () => socket.end(text))
    })
    const connection = await openConnection(server.target, idle, 5000)
    const answer = await settled(exchange(connection, headOf()))
    t.is(answer.error?.code, code)
    t.is(answer.answered, answered)
    t.false(answer.ended)
    t.true(connection.destroyed)
    t.is(answer.calls.filter((call) => call === 'error').length, 1)
  })
}

test('connection: a reset in the middle of a body is UPSTREAM_UNREACHABLE', async (t) => {
  await using server = await startRawServer((socket) => {
    socket.once('data', () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhell'))
  })
  const connection = await openConnection(server.target, idle, 5000)
  const answer = exchange(connection, headOf())
  await until(() => bodyOf(answer).length === 4)
  server.sockets[0]?.resetAndDestroy()
  await settled(answer)
  t.is(answer.error?.code, 'UPSTREAM_UNREACHABLE')
  t.true(answer.answered)
})

for (const call of ['head', 'data']) {
  test(`connection: once destroyed, in the middle of ${call}, it delivers nothing more`, async (t) => {
    let closed = false
    await using server = await startRawServer((socket) => {
      const chunk = '5\r\nhello\r\n'
      socket.once('data', () => {
        socket.write(
          `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${chunk}${chunk}0\r\n\r\n`,
        )
      })
    })
    const onClose = () => {
      closed = true
    }
    const connection = await openConnection(server.target, { ...idle, onClose }, 5000)
    const onCall = (made: string) => {
      if (made === call) connection.destroy()
    }
    const { calls } = exchange(connection, headOf(), { onCall })
    await until(() => closed)
    t.is(calls.at(-1), call)
    t.is(calls.filter((made) => made === call).length, 1)
  })
}

test("connection: Node's server and a chunk of every size agree with what is sent", async (t) => {
  const server = http.createServer((_, res) => {
    for (let size = 1; size < 3000; size += 97) res.write(Buffer.alloc(size, size))
    res.end()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('not listening')
  const target = { address: { host: '127.0.0.1', port: address.port }, tls: undefined }
  const connection = await openConnection(target, idle, 5000)
  const answer = await settled(exchange(connection, headOf()))
  const expected: Buffer[] = []
  for (let size = 1; size < 3000; size += 97) expected.push(Buffer.alloc(size, size))
  t.deepEqual(bodyOf(answer), Buffer.concat(expected))
  connection.destroy()
  server.close()
  await once(server, 'close')
})

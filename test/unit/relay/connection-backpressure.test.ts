import test, { type ExecutionContext } from 'ava'
import { RegistryError } from '../../../src/lib/errors.ts'
import { openConnection } from '../../../src/relay/connection.ts'
import type { UpstreamTarget } from '../../../src/relay/upstream-socket.ts'
import {
  answerHeads,
  bodyOf,
  exchange,
  headOf,
  idle,
  type RawServer,
  settled,
  startRawServer,
  until,
} from './support.ts'
import { startTlsServer } from './tls-server.ts'

const mib = 1024 * 1024

type Subject = { server: RawServer; target: UpstreamTarget }
type Listen = (
  onSocket: Parameters<typeof startTlsServer>[0] & Parameters<typeof startRawServer>[0],
) => Promise<Subject>

const listeners: readonly (readonly [string, Listen])[] = [
  [
    'plain',
    async (onSocket) => {
      const server = await startRawServer(onSocket)
      return { server, target: server.target }
    },
  ],
  [
    'TLS',
    async (onSocket) => {
      const { server, trusting } = await startTlsServer(onSocket)
      return { server, target: trusting }
    },
  ],
]

const numbered = (bytes: number): Buffer => {
  const body = Buffer.allocUnsafe(bytes)
  for (let at = 0; at + 4 <= bytes; at += 4) body.writeUInt32LE(at, at)
  return body
}

function isSame(t: ExecutionContext, actual: Buffer, expected: Buffer): void {
  t.is(actual.length, expected.length)
  t.is(Buffer.compare(actual, expected), 0)
}

for (const [kind, start] of listeners) {
  test(`backpressure, ${kind}: a consumer that stands still stops the reading, and starts it again`, async (t) => {
    const body = numbered(16 * mib)
    const { server, target } = await start((socket) => {
      socket.once('data', () => {
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n`)
        socket.write(body)
      })
    })
    await using _ = server
    const connection = await openConnection(target, idle, 5000)
    const answer = exchange(connection, headOf(), { withhold: true })
    // It stands still once nothing has come for many turns of the event loop.
    let still = 0
    for (let last = -1; still < 3000; still += 1) {
      const { length } = answer.body
      if (length !== last) still = 0
      last = length
      await new Promise(setImmediate)
    }
    const received = bodyOf(answer).length
    t.true(received > 0 && received <= 2 * mib, `${received} bytes`)
    t.false(answer.ended)
    while (!answer.ended) {
      for (const release of answer.withheld.splice(0)) release()
      await new Promise(setImmediate)
    }
    isSame(t, bodyOf(answer), body)
    connection.destroy()
  })

  test(`backpressure, ${kind}: a piece stays as it is until it is released`, async (t) => {
    const body = numbered(8 * mib)
    const { server, target } = await start((socket) => {
      socket.once('data', () => {
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n`)
        socket.write(body)
      })
    })
    await using _ = server
    const connection = await openConnection(target, idle, 5000)
    const held: { piece: Buffer; release: () => void }[] = []
    const copies: Buffer[] = []
    let ended = false
    connection.send(headOf(), {
      onHead() {},
      onData: (piece, release) => held.push({ piece, release }),
      onEnd() {
        ended = true
      },
      onError: (error) => t.fail(error.code),
      onDrain() {},
    })
    while (!ended || held.length > 0) {
      // Late, and one at a time: what was lent must not have been written over meanwhile.
      await new Promise(setImmediate)
      const { piece, release } = held.shift() ?? {}
      if (piece !== undefined) copies.push(Buffer.from(piece))
      release?.()
    }
    isSame(t, Buffer.concat(copies), body)
    connection.destroy()
  })

  test(`backpressure, ${kind}: who stands still after one answer does not hold up the next`, async (t) => {
    // As much as may be kept for a slow client, in pieces that are kept as copies or as they are.
    const piece = 'x'.repeat(15 * 1024)
    const answerText = `HTTP/1.1 200 OK\r\nContent-Length: ${piece.length}\r\n\r\n${piece}`
    const { server, target } = await start(answerHeads(answerText))
    await using _ = server
    const connection = await openConnection(target, idle, 5000)
    for (let round = 0; round < 100; round += 1) {
      const answer = exchange(connection, headOf(), { withhold: true })
      await settled(answer)
      t.true(answer.ended, `round ${round}: ${answer.error?.code}`)
    }
    connection.destroy()
  })

  test(`backpressure, ${kind}: a release after the connection is gone is harmless`, async (t) => {
    let closed = false
    const { server, target } = await start((socket) => {
      socket.once('data', () => {
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${8 * mib}\r\n\r\n`)
        socket.write(Buffer.alloc(mib))
      })
    })
    await using _ = server
    const onClose = () => {
      closed = true
    }
    const connection = await openConnection(target, { ...idle, onClose }, 5000)
    const answer = exchange(connection, headOf(), { withhold: true })
    await until(() => answer.withheld.length > 1)
    connection.destroy()
    answer.withheld.shift()?.()
    await until(() => closed)
    t.notThrows(() => {
      for (const release of answer.withheld) release()
    })
  })
}

test('TLS: the upstream sees http/1.1 offered, and both bodies arrive whole', async (t) => {
  const body = numbered(3 * mib)
  const protocols: unknown[] = []
  const { server, trusting } = await startTlsServer((socket) => {
    socket.on('secure', () => protocols.push(socket.alpnProtocol))
    let received = 0
    socket.on('data', (bytes: Buffer) => {
      received += bytes.length
      if (received < body.length) return
      received = 0
      socket.write(`HTTP/1.1 201 Created\r\nContent-Length: ${body.length}\r\n\r\n`)
      socket.write(body)
    })
  })
  await using _ = server
  const connection = await openConnection(trusting, idle, 5000)
  const framing = { kind: 'sized', length: body.length } as const
  const answer = exchange(connection, headOf({ method: 'PUT', framing }))
  for (let at = 0; at < body.length; at += 16_384) {
    if (!connection.write(Buffer.from(body.subarray(at, at + 16_384)))) {
      const { drains } = answer
      await until(() => answer.drains > drains)
    }
  }
  connection.end()
  await settled(answer)
  isSame(t, bodyOf(answer), body)
  t.is(protocols.length, 1)
  connection.destroy()
})

for (const [what, options] of [
  ['an authority that is not trusted', { servername: 'localhost' }],
  ['a name that the certificate does not have', { servername: 'other.example' }],
] as const) {
  test(`TLS: ${what} is UPSTREAM_UNREACHABLE, and nothing is sent`, async (t) => {
    let seen = 0
    const { server, trusting } = await startTlsServer((socket) => {
      socket.on('data', (bytes: Buffer) => {
        seen += bytes.length
      })
    })
    await using _ = server
    const ca = options.servername === 'localhost' ? {} : trusting.tls
    const error = await t.throwsAsync(
      openConnection({ ...server.target, tls: { ...ca, ...options } }, idle, 5000),
      { instanceOf: RegistryError },
    )
    t.is(error?.code, 'UPSTREAM_UNREACHABLE')
    t.is(seen, 0)
  })
}

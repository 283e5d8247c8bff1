import { randomBytes } from 'node:crypto'
import { setImmediate as turn } from 'node:timers/promises'
import type { TLSSocket } from 'node:tls'
import test from 'ava'
import { bodyBufferBytes } from '../../../src/lib/spare-buffers.ts'
import { openConnection } from '../../../src/relay/connection.ts'
import { createRandom, type Random } from '../../support/random.ts'
import { answerHeads, bodyOf, exchange, headOf, idle, settled, until } from './support.ts'
import { startTlsServer } from './tls-server.ts'

const mib = 1024 * 1024
const sized = (body: string): string =>
  `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`

test('TLS: bytes that come with the handshake, unasked, are never taken for an answer', async (t) => {
  const { server, trusting } = await startTlsServer((socket) => {
    socket.on('secure', () => socket.write(sized('too early')))
  })
  await using _ = server
  let idles = 0
  const events = { ...idle, onIdle: () => (idles += 1) }
  const opened = await openConnection(trusting, events, 5000).catch(() => undefined)
  if (opened !== undefined) await until(() => opened.destroyed)
  t.is(idles, 0)
})

test('TLS: bytes that nobody asked for close an idle connection', async (t) => {
  let peer: TLSSocket | undefined
  let isClosed = false
  const { server, trusting } = await startTlsServer((socket) => {
    peer = socket
    answerHeads(sized('x'))(socket)
  })
  await using _ = server
  const onClose = () => {
    isClosed = true
  }
  const connection = await openConnection(trusting, { ...idle, onClose }, 5000)
  await settled(exchange(connection, headOf()))
  peer?.write(sized('smuggled'))
  await until(() => isClosed)
  t.true(connection.destroyed)
})

for (const more of ['one more byte', sized('smuggled')]) {
  test(`TLS: ${more.slice(0, 13)} right behind an answer that fills the buffers ends the connection`, async (t) => {
    // Anywhere around the place where a read buffer is full and its end is delivered.
    for (const length of [bodyBufferBytes, bodyBufferBytes + 16_384, 2 * bodyBufferBytes]) {
      for (const shift of [-60, -41, -1, 0, 1]) {
        const answer = sized('x'.repeat(length + shift))
        const { server, trusting } = await startTlsServer(answerHeads(answer + more))
        await using _ = server
        const connection = await openConnection(trusting, idle, 5000)
        const { body } = await settled(exchange(connection, headOf()))
        t.is(Buffer.concat(body).length, length + shift)
        await until(() => connection.destroyed)
      }
    }
    t.pass()
  })
}

test('TLS: a body until the connection closes is whole, its last record too', async (t) => {
  const body = randomBytes(3 * mib + 123)
  const { server, trusting } = await startTlsServer((socket) => {
    socket.once('data', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n')
      socket.end(body)
    })
  })
  await using _ = server
  const connection = await openConnection(trusting, idle, 5000)
  const answer = await settled(exchange(connection, headOf()))
  t.true(answer.ended)
  t.true(bodyOf(answer).equals(body))
})

test('TLS: what came before the connection broke is passed on before the error', async (t) => {
  const { server, trusting } = await startTlsServer((socket) => {
    socket.once('data', () => {
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${mib}\r\n\r\n`)
      socket.write(Buffer.alloc(100_000), () => socket.destroy())
    })
  })
  await using _ = server
  const connection = await openConnection(trusting, idle, 5000)
  const answer = await settled(exchange(connection, headOf()))
  t.is(bodyOf(answer).length, 100_000)
  t.is(answer.error?.code, 'UPSTREAM_INVALID')
  t.is(answer.calls.at(-1), 'error')
})

test('TLS: a name with several addresses is read from as well, after the one that answers', async (t) => {
  const { server, trusting } = await startTlsServer(answerHeads(sized('y'.repeat(mib))))
  await using _ = server
  const address = { host: 'localhost', port: server.port }
  const connection = await openConnection({ ...trusting, address }, idle, 5000)
  const answer = await settled(exchange(connection, headOf()))
  t.is(bodyOf(answer).length, mib)
  connection.destroy()
})

test('TLS: a connection that is destroyed with records in hand is quiet about them', async (t) => {
  const { server, trusting } = await startTlsServer((socket) => {
    socket.once('data', () => {
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${8 * mib}\r\n\r\n`)
      socket.write(Buffer.alloc(8 * mib))
    })
  })
  await using _ = server
  let isClosed = false
  const onClose = () => {
    isClosed = true
  }
  const connection = await openConnection(trusting, { ...idle, onClose }, 5000)
  const onCall = (): void => connection.destroy()
  const answer = exchange(connection, headOf(), { onCall })
  await until(() => isClosed)
  await turn()
  t.deepEqual(answer.calls, ['head'])
})

test('TLS: an answer whose end came after reading was paused leaves the connection fit for the next', async (t) => {
  const random = createRandom(7)
  let body = ''
  const { server, trusting } = await startTlsServer((socket) => {
    socket.on('data', () => socket.write(sized(body)))
  })
  await using _ = server
  const connection = await openConnection(trusting, idle, 5000)
  for (let round = 0; round < 100; round += 1) {
    // Reading is paused a little before two buffers are full; sometimes that is enough to end it.
    body = 'x'.repeat(2 * bodyBufferBytes - 131_072 + random(131_072))
    const answer = exchange(connection, headOf(), { withhold: true })
    for (let turns = 0; turns < 200 && !answer.ended; turns += 1) await turn()
    if (!answer.ended) for (const release of answer.withheld.splice(0)) release()
    await settled(answer)
    t.is(bodyOf(answer).length, body.length)
  }
  connection.destroy()
})

/** Writes `body` in pieces of any size, as sized body or in chunks, now and then a turn later. */
async function answerRandomly(socket: TLSSocket, body: Buffer, random: Random): Promise<void> {
  const isChunked = random(2) === 0
  const framing = isChunked ? 'Transfer-Encoding: chunked' : `Content-Length: ${body.length}`
  socket.write(`HTTP/1.1 200 OK\r\n${framing}\r\n\r\n`)
  for (let at = 0; at < body.length; ) {
    const piece = body.subarray(at, at + 1 + random(random(2) === 0 ? 3000 : 400_000))
    at += piece.length
    if (isChunked) socket.write(`${piece.length.toString(16)}\r\n`)
    socket.write(piece)
    if (isChunked) socket.write('\r\n')
    if (random(4) === 0) await turn()
  }
  if (isChunked) socket.write('0\r\n\r\n')
}

for (let seed = 1; seed <= 6; seed += 1) {
  test(`TLS: bytes are exact for a reader that takes them when it likes, seed ${seed}`, async (t) => {
    const random = createRandom(seed)
    let body = Buffer.alloc(0)
    const { server, trusting } = await startTlsServer((socket) => {
      socket.setMaxSendFragment(512 + random(15_873))
      socket.on('data', () => void answerRandomly(socket, body, random))
    })
    await using _ = server
    const connection = await openConnection(trusting, idle, 5000)
    for (let round = 0; round < 12; round += 1) {
      body = randomBytes(random(random(3) === 0 ? 5 * mib : 40_000))
      const held: { bytes: Buffer; release: () => void }[] = []
      const taken: Buffer[] = []
      let isOver = false
      connection.send(headOf(), {
        onHead() {},
        onData: (bytes, release) => held.push({ bytes, release }),
        onEnd() {
          isOver = true
        },
        onError: (error) => t.fail(`round ${round}: ${error.code}`),
        onDrain() {},
      })
      const take = (piece: (typeof held)[number]): void => {
        // Copied as late as a slow client's socket would: what is held must not have changed.
        taken.push(Buffer.from(piece.bytes))
      }
      while (!isOver) {
        await turn()
        if (random(6) > 0) continue
        for (const piece of held.splice(0, 1 + random(4))) {
          take(piece)
          piece.release()
        }
      }
      held.forEach(take)
      for (const { release } of held) release()
      t.true(Buffer.concat(taken).equals(body), `round ${round}, ${body.length} bytes`)
      t.false(connection.destroyed)
    }
    connection.destroy()
  })
}

import type { IncomingMessage } from 'node:http'
import test from 'ava'
import fc from 'fast-check'
import { until } from '../relay/support.ts'
import { connect, makeTlsOptions, startListener } from './support.ts'

/** What a listener does within a `data` event, as relay and registry do it. */
const moves = {
  nothing: () => {},
  'pause for a tick': (req) => {
    req.pause()
    process.nextTick(() => req.resume())
  },
  'pause for a turn of the loop': (req) => {
    req.pause()
    setImmediate(() => req.resume())
  },
  'pause for a while': (req) => {
    req.pause()
    setTimeout(() => req.resume(), 2)
  },
  'pause and go on': (req) => void req.pause().resume(),
} satisfies Record<string, (req: IncomingMessage) => void>

type Move = keyof typeof moves

const names = Object.keys(moves) as Move[] // of an object literal

/** Answers with all that it got, and does one of `plan` after the other as pieces come. */
function echo(plan: readonly Move[]) {
  let turn = 0
  return (req: IncomingMessage, answer: (body: Buffer) => void): void => {
    const pieces: Buffer[] = []
    req.on('data', (piece: Buffer) => {
      pieces.push(piece)
      moves[plan[turn++ % plan.length] ?? 'nothing'](req)
    })
    req.on('end', () => answer(Buffer.concat(pieces)))
  }
}

/** Bytes that tell their place. */
function pattern(length: number): Buffer {
  return Buffer.from(Uint8Array.from({ length }, (_, index) => (index * 31 + (index >> 8)) % 251))
}

/** A request with `body`, in chunks of at most so many bytes; sized without. */
function framed(body: Buffer, chunkBytes: number | undefined): Buffer {
  const chunk = (bytes: Buffer): Buffer =>
    Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')])
  const head = 'PUT / HTTP/1.1\r\nHost: a\r\n'
  if (chunkBytes === undefined) {
    return Buffer.concat([Buffer.from(`${head}Content-Length: ${body.length}\r\n\r\n`), body])
  }
  const starts = Array.from(
    { length: Math.ceil(body.length / chunkBytes) },
    (_, n) => n * chunkBytes,
  )
  return Buffer.concat([
    Buffer.from(`${head}Transfer-Encoding: chunked\r\n\r\n`),
    ...starts.map((start) => chunk(body.subarray(start, start + chunkBytes))),
    Buffer.from('0\r\n\r\n'),
  ])
}

/** Few thousand chunks at most. */
const requestShape = fc.oneof(
  fc.tuple(fc.integer({ min: 0, max: 400_000 }), fc.constantFrom(undefined, 511, 70_000, 400_000)),
  fc.tuple(fc.integer({ min: 0, max: 6000 }), fc.integer({ min: 1, max: 520 })),
)

test('a request body arrives whole and in order, however its listener pauses, on one connection after the other', async (t) => {
  const tls = await makeTlsOptions()
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.constantFrom(...names), { minLength: 1, maxLength: 8 }),
      fc.array(requestShape, { minLength: 1, maxLength: 4 }),
      fc.boolean(),
      async (plan, requests, isTls) => {
        const received: Buffer[] = []
        const handle = echo(plan)
        await using subject = await startListener({
          tls: isTls ? tls : undefined,
          onRequest: (req, res) =>
            handle(req, (body) => {
              received.push(body)
              res.end('ok')
            }),
        })
        const client = await connect(
          subject.port,
          isTls ? { rejectUnauthorized: false } : undefined,
        )
        const bodies = requests.map(([length]) => pattern(length))
        // All at once: each body is followed by the next request.
        for (const [index, [, chunkBytes]] of requests.entries())
          client.socket.write(framed(bodies[index] ?? Buffer.alloc(0), chunkBytes))
        await until(() => received.length === bodies.length || client.closed)
        client.socket.destroy()
        t.deepEqual(
          received.map((body, index) => body.equals(bodies[index] ?? Buffer.alloc(0))),
          bodies.map(() => true),
        )
      },
    ),
    { numRuns: 40 },
  )
})

test('a request that is destroyed by its listener tells it nothing more', async (t) => {
  let pieces = 0
  let isClosed = false
  await using subject = await startListener({
    tls: await makeTlsOptions(),
    onRequest: (req) => {
      req.on('data', () => {
        pieces += 1
        req.destroy()
      })
      req
        .on('error', () => {})
        .on('close', () => {
          isClosed = true
        })
    },
  })
  const client = await connect(subject.port, { rejectUnauthorized: false })
  client.socket.write(framed(pattern(300_000), undefined))
  await until(() => isClosed && client.closed)
  t.is(pieces, 1)
})

test('a body that nobody listens to any more waits, and goes on with the next listener', async (t) => {
  await using subject = await startListener({
    tls: await makeTlsOptions(),
    onRequest: (req, res) => {
      const pieces: Buffer[] = []
      const first = (piece: Buffer): void => {
        pieces.push(piece)
        req.pause().off('data', first)
        setTimeout(() => {
          req.on('data', (next: Buffer) => pieces.push(next)).resume()
        }, 20)
      }
      req.on('data', first).on('end', () => {
        res.end(Buffer.concat(pieces).equals(pattern(300_000)) ? 'the same' : 'another')
      })
    },
  })
  const client = await connect(subject.port, { rejectUnauthorized: false })
  client.socket.write(framed(pattern(300_000), undefined))
  await until(() => client.text.includes('\r\n\r\n') && /same|another/.test(client.text))
  t.regex(client.text, /the same/)
})

test('what had arrived of a body can be read when its client leaves, small pieces too', async (t) => {
  const left = Promise.withResolvers<number>()
  await using subject = await startListener({
    tls: await makeTlsOptions(),
    onRequest: (req) => {
      req.pause().on('data', () => {})
      req.on('error', () => {}).on('close', () => left.resolve(req.read()?.length ?? 0))
    },
  })
  const client = await connect(subject.port, { rejectUnauthorized: false })
  client.socket.write(framed(pattern(3000), 1).subarray(0, -5))
  await until(() => client.socket.writableLength === 0)
  client.socket.end()
  t.is(await left.promise, 3000)
})

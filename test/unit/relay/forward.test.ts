import { once } from 'node:events'
import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import test from 'ava'
import fc from 'fast-check'
import { RegistryError } from '../../../src/lib/errors.ts'
import { createRelay, type RelayOptions } from '../../../src/relay/forward.ts'
import { startServer } from '../http/support.ts'
import { answerHeads, startRawServer, until } from './support.ts'

type Settings = Partial<Omit<RelayOptions, 'target'>> & Pick<RelayOptions, 'target'>

const relayTo = (settings: Settings) =>
  createRelay({
    scheme: 'http',
    authority: 'registry:5000',
    authorization: 'strip',
    relative: false,
    maxBodyBytes: undefined,
    timeouts: { connect: 5000, response: 10_000, idle: 10_000 },
    ...settings,
  })

const origin = {
  scheme: 'https',
  authority: 'registry.example:8443',
  clientAddress: '192.0.2.7',
} as const

/** A front without anything but the relay; what fails breaks the connection. */
async function startFront(settings: Settings) {
  const relay = relayTo(settings)
  const failures: unknown[] = []
  const onRequest = (req: IncomingMessage, res: ServerResponse): void => {
    const exchange = {
      ...{ id: 'id-1', req, res, origin, expectsContinue: false, headers: () => [] },
      progress: { bytesIn: 0, bytesOut: 0 },
    }
    relay.forward(exchange).catch((error: unknown) => {
      failures.push(error)
      res.destroy()
    })
  }
  const front = await startServer(onRequest)
  return {
    ...front,
    relay,
    failures,
    async [Symbol.asyncDispose]() {
      relay.close()
      await front[Symbol.asyncDispose]()
    },
  }
}

/** A connection from a client that sends a request and then takes nothing that is written to it. */
function createStalledSocket(request: string): Duplex {
  const socket = new Duplex({ read() {}, write() {} })
  socket.push(request)
  return socket
}

test('forward: a client that takes nothing is let go, also when the upstream has long finished', async (t) => {
  const body = 'x'.repeat(100_000)
  await using upstream = await startRawServer(
    answerHeads(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`),
  )
  const timeouts = { connect: 5000, response: 10_000, idle: 100 }
  await using front = await startFront({ target: upstream.target, timeouts })
  const socket = createStalledSocket('GET /v2/ HTTP/1.1\r\nHost: a\r\n\r\n')
  front.server.emit('connection', socket)
  await until(() => socket.destroyed)
  t.true(socket.destroyed)
})

test('forward: letting such a client go does not break the next exchange on its upstream connection', async (t) => {
  const body = 'x'.repeat(100_000)
  let finishSecond = (): void => {}
  await using upstream = await startRawServer((socket) => {
    socket.once('data', () => {
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`)
      socket.once('data', () => {
        socket.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab')
        finishSecond = () => void socket.write('cd')
      })
    })
  })
  const timeouts = { connect: 5000, response: 10_000, idle: 1500 }
  await using front = await startFront({ target: upstream.target, timeouts })
  const stalled = createStalledSocket('GET /v2/ HTTP/1.1\r\nHost: a\r\n\r\n')
  front.server.emit('connection', stalled)
  await until(() => (upstream.sockets[0]?.bytesWritten ?? 0) > body.length)
  // Later than the other by more than a busy machine stands still, so that only the other is idle too long.
  await delay(750)
  const response = await fetch(`http://127.0.0.1:${front.port}/v2/`)
  await until(() => stalled.destroyed)
  finishSecond()
  t.is(await response.text(), 'abcd')
  t.is(upstream.sockets.length, 1)
})

test('forward: clients that leave, at any moment, leave nothing behind upstream', async (t) => {
  await using upstream = await startServer((req, res) => {
    req.resume()
    // Some answers come late, some never end, some at once.
    const size = Number(req.url?.split('/').at(-1))
    res.writeHead(200)
    res.write(Buffer.alloc(size))
    if (size % 2 === 0) res.end()
  })
  const sockets: Socket[] = []
  upstream.server.on('connection', (socket) => sockets.push(socket))
  const target = { address: { host: '127.0.0.1', port: upstream.port }, tls: undefined }
  await using front = await startFront({ target })
  for (let round = 0; round < 200; round += 1) {
    const upload = round % 3 === 0
    const request = http.request({
      ...{
        host: '127.0.0.1',
        port: front.port,
        agent: false,
        path: `/v2/${round * 1000 + (round % 2)}`,
      },
      method: upload ? 'PUT' : 'GET',
    })
    request.on('error', () => {})
    request.on('response', (response) => response.on('error', () => {}).resume())
    if (upload) request.write(Buffer.alloc(1000))
    else request.end()
    await once(request, 'socket')
    for (let turn = 0; turn < round % 17; turn += 1) await new Promise(setImmediate)
    request.destroy()
  }
  front.relay.close()
  await until(() => sockets.every((socket) => socket.destroyed))
  t.true(sockets.length > 100)
})

test('forward: whatever happens around it, no client gets an answer meant for another', async (t) => {
  await using upstream = await startServer((req, res) => {
    const pieces: Buffer[] = []
    req.on('error', () => {})
    req.on('data', (piece: Buffer) => pieces.push(piece))
    req.on('end', () => {
      const body = `${req.method} ${req.url} ${Buffer.concat(pieces)}`.repeat(
        1 + (pieces.length % 3),
      )
      // What is reset over an answer would otherwise be given to the next request at that moment.
      if (/close$|reset$/.test(req.url ?? '')) res.setHeader('Connection', 'close')
      if (!req.url?.endsWith('chunked')) res.setHeader('Content-Length', body.length)
      res.end(body)
      if (req.url?.endsWith('reset')) res.socket?.resetAndDestroy()
    })
  })
  const target = { address: { host: '127.0.0.1', port: upstream.port }, tls: undefined }
  await using front = await startFront({ target })
  let serial = 0
  const ask = async (kind: string, method: string, leave: boolean): Promise<void> => {
    serial += 1
    const path = `/v2/${serial}/${kind}`
    const request = http.request({
      host: '127.0.0.1',
      port: front.port,
      agent: false,
      path,
      method,
    })
    request.end(method === 'PUT' ? `body of ${serial}` : undefined)
    if (leave) setImmediate(() => request.destroy())
    try {
      const [response]: IncomingMessage[] = await once(request, 'response')
      const pieces = (await response?.toArray()) ?? []
      const text = Buffer.concat(pieces).toString()
      if (method !== 'HEAD') t.true(text.startsWith(`${method} ${path} `), text.slice(0, 99))
      if (method === 'PUT') t.true(text.includes(`body of ${path.split('/')[2]}`))
    } catch (error) {
      // Those that leave and those that are reset may fail, and nobody else.
      if (!leave && kind !== 'reset') throw error
    }
  }
  const plan = fc.array(
    fc.tuple(
      fc.constantFrom('sized', 'chunked', 'close', 'reset'),
      fc.constantFrom('GET', 'PUT', 'HEAD', 'DELETE'),
      fc.constantFrom(false, false, false, true),
    ),
    { minLength: 1, maxLength: 20 },
  )
  await fc.assert(
    fc.asyncProperty(plan, async (requests) => {
      await Promise.all(requests.map((request) => ask(...request)))
    }),
    { numRuns: 30 },
  )
})

test('forward: probing while requests run disturbs none of them', async (t) => {
  await using upstream = await startServer((_, res) => {
    res.setHeader('Content-Length', 2)
    res.end('{}')
  })
  const target = { address: { host: '127.0.0.1', port: upstream.port }, tls: undefined }
  await using front = await startFront({ target })
  const ask = async (method: string): Promise<number | undefined> => {
    const request = http.request({
      host: '127.0.0.1',
      port: front.port,
      agent: false,
      path: '/v2/',
      method,
    })
    request.end(method === 'PUT' ? 'x' : undefined)
    const [response]: IncomingMessage[] = await once(request, 'response')
    response?.resume()
    return response?.statusCode
  }
  for (let round = 0; round < 40; round += 1) {
    const results = await Promise.all([
      front.relay.probe(),
      ask('PUT'),
      front.relay.probe(),
      ask('PUT'),
      ask('GET'),
    ])
    t.deepEqual(results, [undefined, 200, undefined, 200, 200])
  }
  t.deepEqual(front.failures, [])
})

for (const [what, answer, code] of [
  ['answers 200', 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n', undefined],
  ['answers 401', 'HTTP/1.1 401 Unauthorized\r\nContent-Length: 5\r\n\r\nwhoa!', undefined],
  ['answers 404 until its end', 'HTTP/1.1 404 Not Found\r\n\r\nnothing', undefined],
  ['answers 500', 'HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n', 'UPSTREAM_INVALID'],
  ['answers 503', 'HTTP/1.1 503 Later\r\nContent-Length: 0\r\n\r\n', 'UPSTREAM_INVALID'],
  ['speaks no HTTP', 'SSH-2.0-x\r\n\r\n', 'UPSTREAM_INVALID'],
  ['says nothing', '', 'UPSTREAM_TIMEOUT'],
] as const) {
  test(`probe: an upstream that ${what} ${code === undefined ? 'lives' : `is ${code}`}`, async (t) => {
    await using upstream = await startRawServer(answerHeads(answer))
    const limit = code === 'UPSTREAM_TIMEOUT' ? 50 : 10_000
    const timeouts = { connect: limit, response: 10_000, idle: 10_000 }
    const relay = relayTo({ target: upstream.target, timeouts })
    const failure = await relay.probe().then(
      () => undefined,
      (error: unknown) => (error instanceof RegistryError ? error.code : String(error)),
    )
    t.is(failure, code)
    await until(() => upstream.sockets.every((socket) => socket.destroyed))
  })
}

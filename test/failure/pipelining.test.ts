import http from 'node:http'
import { text } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import test from 'ava'
import { startHttpBackend, startRawBackend } from '../support/backends.ts'
import { startFront } from '../support/front.ts'
import { openRawClient } from '../support/raw-client.ts'

const blob = `/v2/team/app/blobs/sha256:${'a'.repeat(64)}`
const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: h\r\n\r\n`

test('pipelining: requests are answered one after the other, each with its own answer', async (t) => {
  let running = 0
  let most = 0
  await using backend = await startHttpBackend(async (req, res) => {
    running += 1
    most = Math.max(most, running)
    await new Promise(setImmediate)
    running -= 1
    res.end(`<${req.url}>`)
  })
  await using front = await startFront(backend.url)
  using client = await openRawClient(front)
  const tags = Array.from({ length: 10 }, (_, index) => `/v2/a/manifests/t${index}`)
  client.send(tags.map(get).join(''))
  await client.waitFor(/<\/v2\/a\/manifests\/t9>/)
  t.deepEqual(
    client.received.match(/<[^>]+>/g),
    tags.map((tag) => `<${tag}>`),
  )
  t.is(most, 1)
})

test('pipelining: a client that piles up requests is cut off', async (t) => {
  let connections = 0
  await using backend = await startRawBackend(() => {
    connections += 1
  })
  await using front = await startFront(backend.url)
  using client = await openRawClient(front)
  client.send(get(blob).repeat(1000))
  await client.ended()
  t.true(connections <= 1)
})

test('pipelining: an answer that breaks off while another waits its turn ends the connection', async (t) => {
  await using backend = await startRawBackend((socket) => {
    socket.on('data', (bytes) => {
      const isBlob = bytes.includes('/blobs/')
      socket.write(
        `HTTP/1.1 200 OK\r\nContent-Length: ${isBlob ? 100 : 2}\r\n\r\n${isBlob ? 'half' : 'ok'}`,
      )
      if (isBlob) setImmediate(() => socket.resetAndDestroy())
    })
  })
  await using front = await startFront(backend.url)
  using client = await openRawClient(front)
  client.send(get('/v2/') + get(blob) + get('/v2/'))
  const received = await client.ended()
  t.regex(received, /ok[\s\S]*half$/)
})

test('pipelining: an upload behind a download that its client has not taken yet arrives whole', async (t) => {
  const layer = Buffer.alloc(32 * 1024 * 1024, 'z')
  let uploaded = ''
  await using backend = await startHttpBackend(async (req, res) => {
    if (req.method === 'PATCH') uploaded = await text(req)
    res.writeHead(req.method === 'PATCH' ? 202 : 200).end(req.method === 'PATCH' ? '' : layer)
  })
  await using front = await startFront(backend.url)
  using client = await openRawClient(front)
  client.send(get(blob))
  await client.waitFor(/\r\n\r\n/)
  client.socket.pause()
  // Until the front waits for the client, whatever the sockets between hold.
  await delay(200)
  // Several TLS records at once: Node pauses its parser over the first, and still hands it the others.
  // More than may wait here, too.
  const body = 'u'.repeat(300_000)
  const head = `PATCH /v2/a/blobs/uploads/1 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n`
  client.send(`${head}Content-Length: ${body.length}\r\n\r\n${body}`)
  await delay(100)
  client.socket.resume()
  const received = await client.ended()
  t.regex(received.slice(-1000), /HTTP\/1\.1 202 /)
  t.is(uploaded, body)
})

const injected = test.macro({
  title: (_, what: string) =>
    `pipelining: ${what} behind a request never becomes part of its answer`,
  async exec(t, _what: string, extra: string) {
    const finish = Promise.withResolvers<void>()
    await using backend = await startHttpBackend(async (_, res) => {
      res.writeHead(200, { 'content-length': 200 })
      res.write('XXXXX')
      await finish.promise
      res.end()
    })
    await using front = await startFront(backend.url)
    using client = await openRawClient(front)
    client.send(get(blob))
    await client.waitFor(/XXXXX$/)
    client.send(extra)
    const received = await client.ended()
    finish.resolve()
    t.regex(received, /\r\n\r\nXXXXX$/)
  },
})
test(injected, 'garbage', 'GARBAGE\r\n\r\n')
test(injected, 'CONNECT', 'CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n')

test('pipelining: garbage behind a request that is still unanswered is not its answer', async (t) => {
  await using backend = await startHttpBackend(() => {})
  await using front = await startFront(backend.url)
  using client = await openRawClient(front)
  client.send(`${get(blob)}GARBAGE\r\n\r\n`)
  t.is(await client.ended(), '')
})

test('early answer: it is never lost when the backend answers and closes at once', async (t) => {
  const answer = 'HTTP/1.1 413 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno'
  await using backend = await startRawBackend((socket) => {
    socket.once('data', () => socket.write(answer, () => socket.destroy()))
  })
  await using front = await startFront(backend.url)
  for (let round = 0; round < 40; round += 1) {
    using client = await openRawClient(front)
    client.send(
      'PATCH /v2/a/blobs/uploads/1 HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000000\r\n\r\n',
    )
    const pour = (): void => {
      if (client.socket.writable) client.socket.write(Buffer.alloc(65536), pour)
    }
    pour()
    t.regex(await client.ended(), /^HTTP\/1\.1 413 /, `round ${round}`)
  }
})

test('early answer: one without a body comes while the client still sends, not after the wait for it', async (t) => {
  await using backend = await startRawBackend((socket) => {
    socket.once('data', () => {
      socket.resume().write('HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n')
    })
  })
  await using front = await startFront(backend.url)
  using client = await openRawClient(front)
  client.send(
    'PATCH /v2/a/blobs/uploads/1 HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000000\r\n\r\n',
  )
  // Never quiet for half a second: the front would wait two seconds, or forty bytes, to end its answer.
  let sent = 0
  const trickle = setInterval(() => {
    client.send('x')
    sent += 1
  }, 50)
  await client.waitFor(/^HTTP\/1\.1 413 No\r\n/)
  clearInterval(trickle)
  t.true(sent < 30, `${sent} bytes were sent before the answer came`)
})

test('methods: http.METHODS that a route does not have are 405 and reach no backend', async (t) => {
  let requests = 0
  await using backend = await startHttpBackend((_, res) => {
    requests += 1
    res.end()
  })
  await using front = await startFront(backend.url)
  for (const method of http.METHODS) {
    if (['GET', 'HEAD', 'DELETE', 'OPTIONS', 'CONNECT'].includes(method)) continue
    using client = await openRawClient(front)
    client.send(`${method} ${blob} HTTP/1.1\r\nHost: h\r\n\r\n`)
    await client.waitFor(/^HTTP\/1\.1 405 /)
  }
  t.is(requests, 0)
})

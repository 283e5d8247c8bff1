import { createHash, randomBytes } from 'node:crypto'
import { request } from 'node:https'
import { createServer as createTlsServer } from 'node:tls'
import test from 'ava'
import { startHttpBackend, startRawBackend } from '../support/backends.ts'
import { type Front, serverPair, startFront } from '../support/front.ts'
import { openRawClient } from '../support/raw-client.ts'

const upload = '/v2/team/app/blobs/uploads/1234?_state=abc%3D'
const blob = `/v2/team/app/blobs/sha256:${'a'.repeat(64)}`

test('upload: its first byte is at the backend before the client has sent 1 MiB', async (t) => {
  const first = Promise.withResolvers<void>()
  await using backend = await startHttpBackend((req, res) => {
    req.once('data', () => first.resolve())
    req.on('end', () => res.writeHead(202).end())
    req.resume()
  })
  await using front = await startFront(backend.url)
  using client = await openRawClient(front)
  client.send(`PATCH ${upload} HTTP/1.1\r\nHost: h\r\nContent-Length: 1048576\r\n\r\nx`)
  await first.promise
  client.send('x'.repeat(1048575))
  await client.waitFor(/202 Accepted/)
  t.pass()
})

test('upload: a length stays a length and chunks stay chunks, both byte for byte', async (t) => {
  const seen: { headers: Record<string, unknown>; digest: string }[] = []
  await using backend = await startHttpBackend((req, res) => {
    const hash = createHash('sha256')
    req.on('data', (chunk: Buffer) => hash.update(chunk))
    req.on('end', () => {
      seen.push({ headers: req.headers, digest: hash.digest('hex') })
      res.writeHead(201).end()
    })
  })
  await using front = await startFront(backend.url)
  const body = randomBytes(5_000_000)
  const digest = createHash('sha256').update(body).digest('hex')
  await send(front, {
    method: 'PUT',
    path: upload,
    body,
    headers: { 'content-length': body.length },
  })
  await send(front, {
    method: 'PATCH',
    path: upload,
    body,
    headers: { 'transfer-encoding': 'chunked' },
  })
  const [sized, chunked] = seen
  t.is(sized?.headers['content-length'], '5000000')
  t.is(sized?.headers['transfer-encoding'], undefined)
  t.is(sized?.digest, digest)
  t.is(chunked?.headers['transfer-encoding'], 'chunked')
  t.is(chunked?.headers['content-length'], undefined)
  t.is(chunked?.digest, digest)
})

test('upload: an empty body keeps its Content-Length: 0', async (t) => {
  let length: string | undefined
  await using backend = await startHttpBackend((req, res) => {
    length = req.headers['content-length']
    res.writeHead(202).end()
  })
  await using front = await startFront(backend.url)
  await send(front, {
    method: 'POST',
    path: '/v2/a/blobs/uploads/',
    headers: { 'content-length': 0 },
  })
  t.is(length, '0')
})

test('download: random bytes arrive as they are, sized, chunked and until the connection closes', async (t) => {
  const body = randomBytes(3_000_000)
  const chunks = Buffer.concat([
    Buffer.from(`${(1_000_000).toString(16)};name=value\r\n`),
    body.subarray(0, 1_000_000),
    Buffer.from(`\r\n${(2_000_000).toString(16)}\r\n`),
    body.subarray(1_000_000),
    Buffer.from('\r\n0\r\nX-Trailer: yes\r\n\r\n'),
  ])
  const answers = [
    [`Content-Length: ${body.length}`, body],
    ['Transfer-Encoding: chunked', chunks],
    ['Connection: close', body],
  ] as const
  for (const [header, bytes] of answers) {
    await using backend = await startRawBackend((socket) => {
      socket.once('data', () => {
        socket.write(`HTTP/1.1 200 OK\r\n${header}\r\n\r\n`)
        socket.end(bytes)
      })
    })
    await using front = await startFront(backend.url)
    const answer = await send(front, { method: 'GET', path: blob })
    t.true(answer.body.equals(body), header)
  }
})

test('HEAD: Content-Length, type and digest of the backend are kept', async (t) => {
  await using backend = await startHttpBackend((_, res) => {
    res
      .writeHead(200, {
        'content-length': 123456,
        'content-type': 'a/b',
        'docker-content-digest': 'd',
      })
      .end()
  })
  await using front = await startFront(backend.url)
  const { headers } = await send(front, { method: 'HEAD', path: blob })
  t.like(headers, {
    'content-length': '123456',
    'content-type': 'a/b',
    'docker-content-digest': 'd',
  })
})

test('range: 206, 304 and 416 pass with their headers', async (t) => {
  await using backend = await startHttpBackend((req, res) => {
    const status = Number(req.headers['x-want'])
    res.writeHead(status, {
      'content-range': 'bytes 2-3/10',
      etag: '"e"',
      ...(status === 206 && { 'content-length': 2 }),
    })
    res.end(status === 206 ? 'ab' : undefined)
  })
  await using front = await startFront(backend.url)
  for (const status of [206, 304, 416]) {
    const answer = await send(front, { method: 'GET', path: blob, headers: { 'x-want': status } })
    t.is(answer.status, status)
    t.is(answer.headers['content-range'], 'bytes 2-3/10')
    t.is(answer.headers['etag'], '"e"')
  }
})

test('target: it arrives at the backend byte for byte', async (t) => {
  let target: string | undefined
  await using backend = await startHttpBackend((req, res) => {
    target = req.url
    res.end()
  })
  await using front = await startFront(backend.url)
  const targets = [
    '/v2/a/blobs/uploads/1?_state=a%3D%3d+b/c//d%2Fe&digest=sha256%3Aabc',
    `/v2/a/manifests/sha256%3A${'a'.repeat(64)}`,
    '/v2/_catalog?n=1&last=a%2Fb&&x',
    '/v2/?',
  ]
  for (const raw of targets) {
    using client = await openRawClient(front)
    const method = raw.includes('uploads') ? 'PUT' : 'GET'
    client.send(`${method} ${raw} HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n`)
    await client.waitFor(/200 OK/)
    t.is(target, raw)
  }
})

test('Expect: 100 Continue is said after the password was checked, and never sent upstream', async (t) => {
  const seen: (string | undefined)[] = []
  await using backend = await startHttpBackend((req, res) => {
    seen.push(req.headers.expect)
    req.resume().on('end', () => res.writeHead(201).end())
  })
  await using front = await startFront(backend.url)
  using client = await openRawClient(front)
  client.send(
    `PUT ${upload} HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n`,
  )
  await client.waitFor(/^HTTP\/1\.1 100 Continue\r\n\r\n/)
  client.send('abc')
  await client.waitFor(/201 Created/)
  t.deepEqual(seen, [undefined])
})

test('refused uploads: the answer comes without 100 Continue, and without reading gigabytes', async (t) => {
  await using backend = await startHttpBackend((_, res) => void res.end())
  await using front = await startFront(backend.url, { 'http.maxbodysize': '1MiB' })
  using expecting = await openRawClient(front)
  expecting.send(
    `PUT ${upload} HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 9999999\r\n\r\n`,
  )
  const received = await expecting.ended()
  t.regex(received, /^HTTP\/1\.1 413 [\s\S]*"REQUEST_TOO_LARGE"/)
  using flooding = await openRawClient(front)
  flooding.send(`PUT ${upload} HTTP/1.1\r\nHost: h\r\nContent-Length: 999999999999\r\n\r\n`)
  const flood = (): void =>
    void (flooding.socket.writable && flooding.socket.write(Buffer.alloc(65536), flood))
  flood()
  t.regex(await flooding.ended(), /^HTTP\/1\.1 413 [\s\S]*Connection: close/)
})

test('refused uploads: a chunked body past the limit is a 413 and aborted at the backend', async (t) => {
  const seen = Promise.withResolvers<boolean>()
  await using backend = await startHttpBackend((req) => {
    req
      .on('error', () => {})
      .on('close', () => seen.resolve(req.complete))
      .resume()
  })
  await using front = await startFront(backend.url, { 'http.maxbodysize': '64KiB' })
  const answer = await send(front, {
    method: 'PATCH',
    path: upload,
    body: Buffer.alloc(1_000_000),
    headers: { 'transfer-encoding': 'chunked' },
  })
  t.is(answer.status, 413)
  t.false(await seen.promise)
})

test('upstream over https: it is verified against its own authority', async (t) => {
  const server = createTlsServer(serverPair, (socket) => {
    socket.on('error', () => {})
    socket.once('data', () =>
      socket.end(`HTTP/1.1 200 OK\r\nContent-Length: 400000\r\n\r\n${'x'.repeat(400_000)}`),
    )
  })
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const port = typeof address === 'object' ? address?.port : undefined
  const url = `https://localhost:${port}`
  try {
    await using trusting = await startFront(url, { 'upstream.tls': { ca: await caFile(t) } })
    t.is((await send(trusting, { method: 'GET', path: blob })).body.length, 400_000)
    await using doubting = await startFront(url)
    t.is((await send(doubting, { method: 'GET', path: blob })).status, 502)
  } finally {
    server.close()
  }
})

type Sent = { status: number; headers: Record<string, unknown>; body: Buffer }

/** One request over TLS with a connection of its own. */
async function send(
  { port, ca }: Front,
  {
    method,
    path,
    headers = {},
    body,
  }: { method: string; path: string; headers?: Record<string, string | number>; body?: Buffer },
): Promise<Sent> {
  const answer = Promise.withResolvers<Sent>()
  const req = request(
    { port, ca, host: 'localhost', family: 4, method, path, headers, agent: false },
    (res) => {
      const chunks: Buffer[] = []
      res.on('data', (chunk: Buffer) => chunks.push(chunk))
      res.on('error', answer.reject)
      res.on('end', () =>
        answer.resolve({
          status: res.statusCode ?? 0,
          headers: res.headers,
          body: Buffer.concat(chunks),
        }),
      )
    },
  )
  req.on('error', answer.reject)
  req.end(body)
  return await answer.promise
}

async function caFile(t: { teardown(cleanUp: () => Promise<void>): void }): Promise<string> {
  const { mkdtempDisposable, writeFile } = await import('node:fs/promises')
  const directory = await mkdtempDisposable('/tmp/tidegate-ca-')
  t.teardown(() => directory.remove())
  await writeFile(`${directory.path}/ca.crt`, serverPair.ca)
  return `${directory.path}/ca.crt`
}

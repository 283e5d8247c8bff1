import type { ServerResponse } from 'node:http'
import test from 'ava'
import { until } from '../relay/support.ts'
import { connect, startListener } from './support.ts'

function jsonOf(text: string): { code: string; detail?: { reason?: string } } {
  return JSON.parse(text.slice(text.indexOf('\r\n\r\n') + 4)).errors[0]
}

for (const [what, text, status, code] of [
  ['no HTTP at all', 'hello\r\n\r\n', 400, 'REQUEST_INVALID'],
  ['TLS on a plain port', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', 400, 'REQUEST_INVALID'],
  [
    'a length beside chunked',
    'PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    400,
    'REQUEST_INVALID',
  ],
  [
    'chunked beside a length',
    'PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n',
    400,
    'REQUEST_INVALID',
  ],
  [
    'two lengths',
    'PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello',
    400,
    'REQUEST_INVALID',
  ],
  [
    'the same length twice',
    'PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello',
    400,
    'REQUEST_INVALID',
  ],
  [
    'a negative length',
    'PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n',
    400,
    'REQUEST_INVALID',
  ],
  [
    'a coding after chunked',
    'PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n',
    400,
    'REQUEST_INVALID',
  ],
  ['a space before the colon', 'GET / HTTP/1.1\r\nHost : a\r\n\r\n', 400, 'REQUEST_INVALID'],
  ['a folded header', 'GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n', 400, 'REQUEST_INVALID'],
  ['a NUL in a header', 'GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n', 400, 'REQUEST_INVALID'],
  ['a bare CR in a header', 'GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n', 400, 'REQUEST_INVALID'],
  ['bare LFs', 'GET / HTTP/1.1\nHost: a\n\n', 400, 'REQUEST_INVALID'],
  ['the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 400, 'REQUEST_INVALID'],
  [
    'headers beyond their limit',
    `GET / HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(40_000)}\r\n\r\n`,
    431,
    'HEADERS_TOO_LARGE',
  ],
  [
    'a target beyond the limit',
    `GET /${'x'.repeat(40_000)} HTTP/1.1\r\nHost: a\r\n\r\n`,
    431,
    'HEADERS_TOO_LARGE',
  ],
  ['CONNECT', 'CONNECT registry.example:443 HTTP/1.1\r\nHost: a\r\n\r\n', 405, 'UNSUPPORTED'],
] as const) {
  test(`listener: ${what} is answered ${status} in JSON, and the connection ends`, async (t) => {
    let requests = 0
    const onRequest = (_: unknown, res: ServerResponse) => {
      requests += 1
      res.end()
    }
    await using subject = await startListener({ onRequest })
    const client = await connect(subject.port)
    client.socket.write(text, 'latin1')
    await until(() => client.closed)
    t.regex(client.text, new RegExp(`^HTTP/1\\.1 ${status} [A-Z]`))
    t.is(jsonOf(client.text).code, code)
    t.regex(client.text, /\r\ndocker-distribution-api-version: registry\/2\.0\r\n/i)
    t.regex(client.text, /\r\nconnection: close\r\n/i)
    const body = client.text.slice(client.text.indexOf('\r\n\r\n') + 4)
    t.regex(client.text, new RegExp(`content-length: ${body.length}\r\n`, 'i'))
    t.is(requests, 0)
    t.true(
      subject.lines.some((line) => line['status'] === status && line['client'] === '127.0.0.1'),
    )
  })
}

test('listener: TLS on a plain port is told what it is', async (t) => {
  await using subject = await startListener()
  const client = await connect(subject.port)
  client.socket.write(Buffer.from([0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0]))
  await until(() => client.closed)
  t.regex(jsonOf(client.text).detail?.reason ?? '', /speaks plain HTTP/)
})

test('listener: what is smuggled behind a malformed request is never a request', async (t) => {
  const targets: (string | undefined)[] = []
  await using subject = await startListener({
    onRequest(req, res) {
      targets.push(req.url)
      req.resume()
      res.end()
    },
  })
  const client = await connect(subject.port)
  client.socket.write(
    'GET /first HTTP/1.1\r\nHost: a\r\n\r\nPUT /second HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n' +
      'Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n',
  )
  await until(() => client.closed)
  t.deepEqual(targets, ['/first'])
})

test('listener: a body that turns malformed fails its request, which is not complete', async (t) => {
  const events: string[] = []
  await using subject = await startListener({
    onRequest(req, res) {
      req.on('end', () => events.push('end'))
      req.on('error', () => events.push('error'))
      res.on('close', () => events.push('close'))
      req.resume()
    },
  })
  const client = await connect(subject.port)
  client.socket.write(
    'PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n',
  )
  await until(() => client.closed && events.includes('close'))
  t.regex(client.text, /^HTTP\/1\.1 400 /)
  t.false(events.includes('end'))
})

test('listener: a body in a coding that nobody knows is never complete', async (t) => {
  const events: string[] = []
  await using subject = await startListener({
    onRequest(req) {
      req.on('end', () => events.push('end'))
      req.on('error', () => events.push('error'))
      req.resume()
    },
  })
  const client = await connect(subject.port)
  client.socket.write('PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: rot13\r\n\r\nuryyb')
  await until(() => client.closed)
  t.regex(client.text, /^HTTP\/1\.1 400 /)
  t.false(events.includes('end'))
})

test('listener: an answer that was begun is cut off, not followed by another', async (t) => {
  await using subject = await startListener({
    onRequest(req, res) {
      req.resume()
      res.writeHead(200, { 'Content-Length': 100 })
      res.write('half')
    },
  })
  const client = await connect(subject.port)
  client.socket.write(
    'PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n',
  )
  await until(() => client.text.includes('half'))
  client.socket.write('zz\r\n')
  await until(() => client.closed)
  t.false(client.text.includes('400'))
  t.true(client.text.endsWith('half'))
})

for (const [what, text] of [
  ['that stop half-way', 'GET / HTTP/1.1\r\nHost: a\r\n'],
  ['that never begin', ''],
] as const) {
  test(`listener: headers ${what} end with the time for headers`, async (t) => {
    await using subject = await startListener({
      timeouts: { headers: 100, keepalive: 10_000 },
    })
    const client = await connect(subject.port)
    client.socket.write(text)
    await until(() => client.closed)
    if (text !== '') {
      t.regex(client.text, /^HTTP\/1\.1 408 /)
      t.is(jsonOf(client.text).code, 'REQUEST_TIMEOUT')
    }
    t.true(client.closed)
  })
}

test('listener: Expect: 100-continue is left to the one who answers', async (t) => {
  const expectations: unknown[] = []
  await using subject = await startListener({
    onRequest(req, res, expectsContinue) {
      expectations.push(expectsContinue)
      req.resume()
      res.end()
    },
  })
  for (const expect of ['100-continue', '100-Continue', 'something-else']) {
    const client = await connect(subject.port)
    client.socket.write(
      `PUT / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nExpect: ${expect}\r\nContent-Length: 0\r\n\r\n`,
    )
    await until(() => client.closed)
    t.false(client.text.includes('100 Continue'))
    t.regex(client.text, /^HTTP\/1\.1 200 /)
  }
  t.deepEqual(expectations, [true, true, false])
})

test('listener: a request without a Host reaches the pipeline, which answers it in JSON', async (t) => {
  await using subject = await startListener()
  const client = await connect(subject.port)
  client.socket.write('GET / HTTP/1.1\r\nConnection: close\r\n\r\n')
  await until(() => client.closed)
  t.regex(client.text, /^HTTP\/1\.1 200 /)
})

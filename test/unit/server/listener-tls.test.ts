import { once } from 'node:events'
import { mkdtempDisposable } from 'node:fs/promises'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import tls from 'node:tls'
import test from 'ava'
import { present } from '../../support/several-workers.ts'
import { until } from '../relay/support.ts'
import { connect, makeTlsOptions, startListener } from './support.ts'

const insecure = { rejectUnauthorized: false }
const get = 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'

test('listener, TLS: it serves, offers http/1.1, and says where', async (t) => {
  await using subject = await startListener({
    tls: { ...(await makeTlsOptions()), ALPNProtocols: ['http/1.1'] },
  })
  t.regex(subject.listener.url, /^https:\/\/127\.0\.0\.1:\d+$/)
  const client = await connect(subject.port, { ...insecure, ALPNProtocols: ['h2', 'http/1.1'] })
  t.true(client.socket instanceof tls.TLSSocket && client.socket.alpnProtocol === 'http/1.1')
  client.socket.write(get)
  await until(() => client.closed)
  t.regex(client.text, /^HTTP\/1\.1 200 OK\r\n.*ok/s)
})

for (const [what, pieces] of [
  ['at once', [get]],
  ['byte by byte', [...get]],
  ['with a body', [`PUT /v2/ HTTP/1.1\r\nContent-Length: 100000\r\n\r\n${'x'.repeat(100_000)}`]],
] as const) {
  test(`listener, TLS: plain HTTP that comes ${what} gets a 400 that says so`, async (t) => {
    await using subject = await startListener({ tls: await makeTlsOptions() })
    const client = await connect(subject.port)
    for (const piece of pieces) client.socket.write(piece)
    await until(() => client.closed)
    t.regex(client.text, /^HTTP\/1\.1 400 Bad Request\r\n/)
    const { errors } = JSON.parse(client.text.slice(client.text.indexOf('\r\n\r\n') + 4))
    t.is(errors[0].code, 'REQUEST_INVALID')
    t.regex(errors[0].detail.reason, /speaks HTTPS.*https:\/\//)
  })
}

test('listener, TLS: nonsense in place of a handshake ends the connection, not the server', async (t) => {
  await using subject = await startListener({ tls: await makeTlsOptions() })
  for (const bytes of [[0x16, 3, 1, 0, 2, 9, 9], [0x16], [0x16, 0xff, 0xff, 0xff]]) {
    const client = await connect(subject.port)
    client.socket.end(Buffer.from(bytes))
    await until(() => client.closed)
  }
  const client = await connect(subject.port, insecure)
  client.socket.write(get)
  await until(() => client.closed)
  t.regex(client.text, /^HTTP\/1\.1 200 /)
})

test('listener, TLS: a handshake that arrives byte by byte is a handshake', async (t) => {
  await using subject = await startListener({ tls: await makeTlsOptions() })
  // A relay between client and server that passes on one byte at a time.
  const slow = net.createServer((client) => {
    const server = net.connect(subject.port, '127.0.0.1')
    server.setNoDelay(true)
    client.on('data', async (bytes) => {
      client.pause()
      for (const byte of bytes) {
        server.write(Buffer.from([byte]))
        await new Promise(setImmediate)
      }
      client.resume()
    })
    server.on('data', (bytes) => client.write(bytes))
    server.on('close', () => client.destroy())
    client.on('error', () => server.destroy())
    server.on('error', () => client.destroy())
  })
  slow.listen(0, '127.0.0.1')
  await once(slow, 'listening')
  const address = slow.address()
  if (address === null || typeof address === 'string') throw new Error('not listening')
  const client = await connect(address.port, insecure)
  client.socket.write(get)
  await until(() => client.closed)
  t.regex(client.text, /^HTTP\/1\.1 200 /)
  slow.close()
})

for (const [what, begin] of [
  ['says nothing at all', ''],
  ['stops within its handshake', '\x16\x03\x01'],
] as const) {
  test(`listener, TLS: a client that ${what} is dropped in time`, async (t) => {
    await using subject = await startListener({
      tls: await makeTlsOptions(),
      timeouts: { headers: 100, keepalive: 10_000 },
    })
    const client = await connect(subject.port)
    client.socket.write(begin, 'latin1')
    await until(() => client.closed)
    t.is(client.text, '')
  })
}

test('listener, TLS: a client that shakes hands and says nothing is dropped in time', async (t) => {
  await using subject = await startListener({
    tls: await makeTlsOptions(),
    timeouts: { headers: 200, keepalive: 10_000 },
  })
  const client = await connect(subject.port, insecure)
  await until(() => client.closed)
  t.true(client.closed)
})

test('listener, TLS: a peer that is refused learns why, and its request goes nowhere', async (t) => {
  let requests = 0
  await using subject = await startListener({
    tls: await makeTlsOptions(),
    refusePeer: () => 'its certificate is not known',
    onRequest: (_, res) => {
      requests += 1
      res.end('ok')
    },
  })
  const client = await connect(subject.port, insecure)
  client.socket.write(get)
  await until(() => client.closed)
  t.regex(client.text, /^HTTP\/1\.1 403 [\s\S]*"DENIED"[\s\S]*its certificate is not known/)
  t.is(requests, 0)
  const line = subject.lines.find(({ level }) => level === 'warn')
  t.is(line?.['reason'], 'its certificate is not known')
})

test('listener, TLS: a new certificate serves new handshakes, open connections stay', async (t) => {
  const [before, after] = [await makeTlsOptions(), await makeTlsOptions()]
  await using subject = await startListener({ tls: before })
  const old = await connect(subject.port, { ca: before.cert })
  subject.listener.replaceCertificate(after)
  await t.throwsAsync(connect(subject.port, { ca: before.cert }))
  const fresh = await connect(subject.port, { ca: after.cert })
  for (const client of [old, fresh]) {
    client.socket.write(get)
    await until(() => client.closed)
    t.regex(client.text, /^HTTP\/1\.1 200 /)
  }
})

test('listener, TLS: on a Unix socket plain HTTP is told so too, and a handshake that waits is counted and closed', async (t) => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'tidegate-'))
  const path = join(folder.path, 'socket')
  await using subject = await startListener({ tls: await makeTlsOptions(), listen: { path } })
  const silent = net.connect(path)
  await once(silent, 'connect')
  await until(() => subject.listener.connections() === 1)
  const plain = net.connect(path)
  plain.write(get)
  const answer = String(Buffer.concat(await plain.toArray()))
  t.regex(answer, /^HTTP\/1\.1 400 .*speaks HTTPS/s)
  t.true(subject.lines.some(({ msg }) => msg === 'request refused'))
  t.is(await subject.listener.drain(60_000), 0)
})

test('listener, TLS: two connections from one port to two addresses are not taken for one another', async (t) => {
  await using subject = await startListener({
    tls: await makeTlsOptions(),
    listen: { host: '0.0.0.0', port: 0 },
  })
  const first = net.connect({ port: subject.port, host: '127.0.0.1', localAddress: '127.0.0.1' })
  await once(first, 'connect')
  const localPort = present(first.localPort)
  const second = net.connect({
    ...{ port: subject.port, host: '127.0.0.2', localAddress: '127.0.0.1', localPort },
  })
  await once(second, 'connect')
  await until(() => subject.listener.connections() === 2)
  let isTold = false
  second.once('data', () => {
    isTold = true
  })
  first.write(get)
  t.regex(String(Buffer.concat(await first.toArray())), /^HTTP\/1\.1 400 /)
  t.is(subject.listener.connections(), 1)
  t.false(isTold)
  second.destroy()
})

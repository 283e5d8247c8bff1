import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import test from 'ava'
import { endResponse } from '../../../src/lib/end-response.ts'
import { startServer } from '../http/support.ts'
import { until } from '../relay/support.ts'
import { connect } from '../server/support.ts'

const answer = (req: IncomingMessage, res: ServerResponse): void => {
  res.writeHead(401, { 'Content-Length': '6', Connection: 'close' })
  res.write('denied')
  endResponse(req, res)
}

test('end response: without a body to come, it ends at once', async (t) => {
  await using server = await startServer((req, res) => {
    res.writeHead(200, { 'Content-Length': '2' })
    res.write('ok')
    endResponse(req, res)
  })
  const client = await connect(server.port)
  for (const _ of [1, 2]) {
    client.text = ''
    client.socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    await until(() => client.text.endsWith('ok'))
  }
  t.false(client.closed)
  client.socket.destroy()
})

test('end response: a client that first sends its whole body still reads the answer', async (t) => {
  await using server = await startServer(answer)
  const client = await connect(server.port)
  const length = 8 * 1024 * 1024
  client.socket.pause()
  client.socket.write(`PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: ${length}\r\n\r\n`)
  for (let sent = 0; sent < length; sent += 65_536) {
    if (!client.socket.write(Buffer.alloc(65_536))) await once(client.socket, 'drain')
  }
  client.socket.resume()
  await until(() => client.closed)
  t.regex(client.text, /^HTTP\/1\.1 401 .*denied$/s)
})

test('end response: a client that reads only once it cannot write still gets the answer', async (t) => {
  await using server = await startServer(answer)
  const client = await connect(server.port)
  client.socket.pause()
  client.socket.write('PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n')
  let sent = 0
  const piece = Buffer.alloc(65_536)
  const isTaken = (): Promise<boolean> =>
    new Promise((resolve) => {
      setTimeout(resolve, 200, false)
      client.socket.write(piece, (error) => resolve(error == null))
    })
  while (await isTaken()) sent += piece.length
  client.socket.resume()
  await until(() => client.closed)
  t.regex(client.text, /^HTTP\/1\.1 401 .*denied$/s)
  t.true(sent < 64 * 1024 * 1024)
})

test('end response: a client that never stops sending is cut off, within bounds', async (t) => {
  await using server = await startServer(answer)
  const client = await connect(server.port)
  client.socket.write('PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n')
  const chunk = Buffer.concat([Buffer.from('10000\r\n'), Buffer.alloc(65_536), Buffer.from('\r\n')])
  let sent = 0
  while (!client.closed && sent < 256 * 1024 * 1024) {
    client.socket.write(chunk)
    sent += chunk.length
    await until(() => client.closed || client.socket.writableLength < 1024 * 1024)
    await new Promise(setImmediate)
  }
  t.true(client.closed)
  t.regex(client.text, /^HTTP\/1\.1 401 .*denied$/s)
})

test('end response: a client that stops sending is let go after a moment', async (t) => {
  await using server = await startServer(answer)
  const client = await connect(server.port)
  client.socket.write('PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nsome')
  await until(() => client.closed)
  t.regex(client.text, /denied$/)
})

test('end response: a client that leaves meanwhile ends it', async (t) => {
  const responses: ServerResponse[] = []
  await using server = await startServer((req, res) => {
    responses.push(res)
    answer(req, res)
  })
  const client = await connect(server.port)
  client.socket.write('PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nsome')
  await until(() => client.text.endsWith('denied'))
  client.socket.destroy()
  await until(() => responses[0]?.closed === true)
  t.pass()
})

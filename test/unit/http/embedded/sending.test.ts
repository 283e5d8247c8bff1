import { once } from 'node:events'
import net from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import test from 'ava'
import { takeLargeBuffer } from '../../../../src/lib/large-buffers.ts'
import { until } from '../../relay/support.ts'
import { ask, digestOf, headerOf, MemoryRegistry, startEmbedded } from './support.ts'

const mebibyte = 1024 * 1024

/** Every position tells where it is, to a degree: a buffer that was used too early shows. */
function patterned(length: number): Buffer {
  const content = Buffer.alloc(length)
  for (let at = 0; at + 4 <= length; at += 4) content.writeUInt32LE(at, at)
  return content
}

/** A client that has asked for a blob and takes nothing of it. */
async function stalledClient({ port }: { port: number }, path: string): Promise<net.Socket> {
  const socket = net.connect(port, '127.0.0.1')
  socket.on('error', () => {})
  await once(socket, 'connect')
  socket.pause()
  socket.write(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`)
  return socket
}

test('sending: a file that is shorter than it was is broken off, never ended', async (t) => {
  for (const length of [100, 3 * mebibyte]) {
    const registry = new MemoryRegistry()
    registry.missingBytes = 10
    const digest = registry.addBlob('a', patterned(length))
    await using front = await startEmbedded(registry)
    const { status, body, raw } = await ask(front, `GET /v2/a/blobs/${digest}`)
    if (length === 100) {
      t.is(status, 500)
    } else {
      t.is(status, 200)
      t.regex(raw, /Content-Length: 3145728\r\n/)
      t.true(body.length < length, `${body.length}`)
    }
    await until(() => front.lines.some(({ level }) => level === 'error'))
    t.is(registry.open, 0)
  }
})

for (const [end, socketEnd] of [
  ['leaves', (socket: net.Socket) => socket.destroy()],
  ['is reset', (socket: net.Socket) => socket.resetAndDestroy()],
] as const) {
  test.serial(
    `sending: when the client ${end}, the file is closed and the buffers are free again`,
    async (t) => {
      const registry = new MemoryRegistry()
      const digest = registry.addBlob('a', Buffer.alloc(32 * mebibyte, 0xab))
      await using front = await startEmbedded(registry)
      while (takeLargeBuffer()[0] === 0xab) t.log('a buffer of the test before')
      const socket = await stalledClient(front, `/v2/a/blobs/${digest}`)
      await until(() => registry.open === 1)
      await delay(100)
      socketEnd(socket)
      await until(() => registry.open === 0)
      t.is(takeLargeBuffer()[0], 0xab)
      t.is(takeLargeBuffer()[0], 0xab)
      await until(() => front.lines.some(({ msg }) => msg === 'request'))
      const record = front.lines.find(({ msg }) => msg === 'request')
      t.is(record?.['status'], 499)
      t.true(Number(record?.['bytesOut']) < 32 * mebibyte)
      t.false(front.lines.some(({ level }) => level === 'error' || level === 'warn'))
    },
  )
}

test('sending: a client that takes nothing for too long is cut off', async (t) => {
  const registry = new MemoryRegistry()
  const digest = registry.addBlob('a', Buffer.alloc(32 * mebibyte))
  await using front = await startEmbedded(registry, { idleTimeoutMs: 100 })
  const socket = await stalledClient(front, `/v2/a/blobs/${digest}`)
  await until(() => front.lines.some(({ msg }) => msg === 'request'))
  t.is(front.lines.find(({ msg }) => msg === 'request')?.['status'], 499)
  t.is(registry.open, 0)
  socket.destroy()
})

test('sending: an answer from memory that nobody takes is cut off too', async (t) => {
  const registry = new MemoryRegistry()
  const content = Buffer.alloc(32 * mebibyte)
  const digest = digestOf(content)
  registry.revisions.set(`a ${digest}`, { digest, mediaType: 'application/json', content })
  await using front = await startEmbedded(registry, { idleTimeoutMs: 100 })
  const socket = await stalledClient(front, `/v2/a/manifests/${digest}`)
  await until(() => front.lines.some(({ msg }) => msg === 'request'))
  t.is(front.lines.find(({ msg }) => msg === 'request')?.['status'], 499)
  socket.destroy()
})

test('sending: a slow disk is not held against the client', async (t) => {
  const registry = new MemoryRegistry()
  const content = patterned(mebibyte)
  const digest = registry.addBlob('a', content)
  const { blobs } = registry
  const slow: typeof blobs = {
    ...blobs,
    async open(name, wanted) {
      const reader = await blobs.open(name, wanted)
      const read: typeof reader.read = async (buffer, position) => {
        await delay(600)
        return await reader.read(buffer, position)
      }
      return { ...reader, read }
    },
  }
  await using front = await startEmbedded({ ...registry, blobs: slow }, { idleTimeoutMs: 400 })
  const { body } = await ask(front, `GET /v2/a/blobs/${digest}`)
  t.is(digestOf(Buffer.from(body, 'latin1')), digest)
  t.is(registry.open, 0)
})

test('sending: a disk that fails in the middle breaks the answer, and the client that stalls with it', async (t) => {
  const registry = new MemoryRegistry()
  const digest = registry.addBlob('a', Buffer.alloc(32 * mebibyte))
  const { blobs } = registry
  const failing: typeof blobs = {
    ...blobs,
    async open(name, wanted) {
      const reader = await blobs.open(name, wanted)
      const read: typeof reader.read = async (buffer, position) => {
        if (position >= mebibyte) throw new Error('the disk is broken')
        return await reader.read(buffer, position)
      }
      return { ...reader, read }
    },
  }
  await using front = await startEmbedded({ ...registry, blobs: failing })
  const socket = await stalledClient(front, `/v2/a/blobs/${digest}`)
  await until(() => front.lines.some(({ msg }) => msg === 'request'))
  t.is(registry.open, 0)
  const line = front.lines.find(({ level }) => level === 'error')
  t.is(line?.['code'], 'UNKNOWN')
  socket.destroy()
})

for (const length of [0, 1, 65_536, 65_537, 262_144, 262_145, 524_288, 3_000_001]) {
  test(`sending: ${length} bytes arrive as they are, on a connection that goes on`, async (t) => {
    const registry = new MemoryRegistry()
    const content = patterned(length)
    const digest = registry.addBlob('a', content)
    await using front = await startEmbedded(registry)
    const socket = net.connect(front.port, '127.0.0.1')
    const received: Buffer[] = []
    let bytes = 0
    socket.on('data', (piece: Buffer) => {
      received.push(piece)
      bytes += piece.length
      // A client that now and then is slow.
      socket.pause()
      setImmediate(() => socket.resume())
    })
    for (let round = 1; round <= 2; round += 1) {
      socket.write(`GET /v2/a/blobs/${digest} HTTP/1.1\r\nHost: a\r\n\r\n`)
      await until(() => bytes > length * round && Buffer.concat(received).includes('\r\n\r\n'))
      await until(() => {
        const all = Buffer.concat(received)
        return all.length - all.indexOf('\r\n\r\n') - 4 >= length
      })
      const all = Buffer.concat(received.splice(0))
      t.true(all.subarray(all.indexOf('\r\n\r\n') + 4).equals(content))
    }
    t.false(socket.destroyed)
    socket.destroy()
    await until(() => registry.open === 0)
  })
}

test('sending: several clients at once each get their own bytes', async (t) => {
  const registry = new MemoryRegistry()
  const digests = [1, 2, 3, 4].map((seed) => {
    const content = Buffer.alloc(2 * mebibyte + seed, `blob ${seed} `)
    return registry.addBlob('a', content)
  })
  await using front = await startEmbedded(registry)
  const wanted = [...digests, ...digests, ...digests]
  const answers = await Promise.all(wanted.map((digest) => ask(front, `GET /v2/a/blobs/${digest}`)))
  const got = answers.map(({ body }) => digestOf(Buffer.from(body, 'latin1')))
  t.deepEqual(got, wanted)
  t.deepEqual(
    answers.map((answer) => headerOf(answer, 'docker-content-digest')),
    wanted,
  )
  t.is(registry.open, 0)
})

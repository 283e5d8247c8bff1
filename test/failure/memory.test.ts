import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { connect } from 'node:tls'
import { Worker } from 'node:worker_threads'
import test from 'ava'
import { startRawBackend } from '../support/backends.ts'
import { download, startFrontProcess, upload } from '../support/front-process.ts'
import { openRawClient } from '../support/raw-client.ts'

const gibibyte = 1024 ** 3
const allowance = 64 * 1024 ** 2
const blob = `/v2/team/app/blobs/sha256:${'a'.repeat(64)}`
const session = '/v2/team/app/blobs/uploads/1234'

test.serial(
  'memory: a gigabyte each way costs less than 64 MiB above idle and no disk',
  async (t) => {
    const worker = new Worker(new URL('../support/bulk-backend.ts', import.meta.url), {
      workerData: { bytes: gibibyte },
    })
    const [{ port }] = await once(worker, 'message')
    await using front = await startFrontProcess(`http://127.0.0.1:${port}`)
    const idle = await front.memory()
    const written = await front.writtenToDisk()
    t.is(await upload(front, { path: session, bytes: gibibyte }), 202)
    t.is(await download(front, { path: blob }), gibibyte)
    const growth = (await front.peakMemory()) - idle
    t.log(`grew by ${Math.round(growth / 1024 ** 2)} MiB`)
    t.true(growth < allowance)
    t.is(await front.writtenToDisk(), written)
    await worker.terminate()
  },
)

test.serial(
  'memory: a reader that stalls holds the backend back instead of filling memory',
  async (t) => {
    let sent = 0
    await using backend = await startRawBackend((socket) => {
      socket.once('data', () => {
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${10 * gibibyte}\r\n\r\n`)
        const more = (): void => {
          sent += 65536
          if (socket.writable) socket.write(Buffer.alloc(65536), more)
        }
        more()
      })
    })
    await using front = await startFrontProcess(backend.url)
    const idle = await front.memory()
    const client = connect({
      port: front.port,
      ca: front.ca,
      host: '127.0.0.1',
      servername: 'localhost',
    })
    await once(client, 'secureConnect')
    client.pause()
    client.write(`GET ${blob} HTTP/1.1\r\nHost: h\r\n\r\n`)
    await untilStill(() => sent)
    t.true(sent < 10 * gibibyte)
    t.true((await front.peakMemory()) - idle < allowance)
    client.destroy()
  },
)

test.serial(
  'memory: a backend that stalls holds the client back instead of filling memory',
  async (t) => {
    let sent = 0
    await using backend = await startRawBackend((socket) => void socket.pause())
    await using front = await startFrontProcess(backend.url)
    const idle = await front.memory()
    const client = connect({
      port: front.port,
      ca: front.ca,
      host: '127.0.0.1',
      servername: 'localhost',
    })
    await once(client, 'secureConnect')
    client.write(`PATCH ${session} HTTP/1.1\r\nHost: h\r\nContent-Length: ${10 * gibibyte}\r\n\r\n`)
    const more = (): void => {
      sent += 65536
      if (client.writable) client.write(Buffer.alloc(65536), more)
    }
    more()
    await untilStill(() => sent)
    t.true(sent < 10 * gibibyte)
    t.true((await front.peakMemory()) - idle < allowance)
    client.destroy()
  },
)

test.serial(
  'memory: bodies of one-byte chunks that wait their turn cost what their bytes do',
  async (t) => {
    await using backend = await startRawBackend(() => {})
    await using front = await startFrontProcess(backend.url)
    const idle = await front.memory()
    const opened = async (): Promise<void> => {
      const client = await openRawClient(front)
      t.teardown(() => client.socket.destroy())
      client.send(`GET ${blob} HTTP/1.1\r\nHost: h\r\n\r\n`)
      const head = `PATCH ${session} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n`
      // Below what Node lets wait, so that each is taken in.
      for (let waiting = 0; waiting < 15; waiting += 1)
        client.send(`${head}${'1\r\nx\r\n'.repeat(60_000)}0\r\n\r\n`)
      while (client.socket.writableLength > 0) await delay(10)
    }
    await Promise.all([opened(), opened()])
    // One by one in memory of their own they would have been half a gigabyte for each client.
    t.true((await front.peakMemory()) - idle < 2 * allowance)
  },
)

/** Resolves once `value` has moved and then not moved for a while. */
async function untilStill(value: () => number): Promise<void> {
  let last = 0
  let still = 0
  while (last === 0 || still < 10) {
    await new Promise((resolve) => setTimeout(resolve, 50))
    still = value() === last ? still + 1 : 0
    last = value()
  }
}

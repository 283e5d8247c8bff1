import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import test from 'ava'
import { createPool } from '../../../src/relay/pool.ts'
import { exchange, headOf, settled } from './support.ts'

/** Answers any request 20 ms after its head, saying nothing of an end, and resets the connection. */
const rudeBackend = `
  const { parentPort } = require('node:worker_threads')
  const server = require('node:net').createServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', () => {
      socket.pause()
      const answer = 'HTTP/1.1 413 No\\r\\nContent-Length: 2\\r\\n\\r\\n{}'
      setTimeout(() => socket.write(answer, () => socket.resetAndDestroy()), 20)
    })
  })
  server.listen(0, '127.0.0.1', () => parentPort.postMessage(server.address().port))
`

test('pool: a connection on which a write failed is not given out, though its answer was whole', async (t) => {
  const worker = new Worker(rudeBackend, { eval: true })
  const [port] = await once(worker, 'message')
  const target = { address: { host: '127.0.0.1', port }, tls: undefined }
  const pool = createPool(target, { connectTimeoutMs: 5000 })
  const connection = await pool.acquire('fresh')
  const answer = exchange(
    connection,
    headOf({ method: 'PUT', framing: { kind: 'sized', length: 3 } }),
  )
  await new Promise((resolve) => setTimeout(resolve, 2))
  // The backend answers and is gone while our loop is busy, so that the write below meets a reset.
  const until = performance.now() + 60
  while (performance.now() < until);
  connection.write(Buffer.from('abc'))
  connection.end()
  await settled(answer)
  t.true(connection.destroyed)
  t.not(await pool.acquire('careful'), connection)
  pool.close()
  await worker.terminate()
})

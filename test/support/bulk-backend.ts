import { createServer } from 'node:net'
import { parentPort, workerData } from 'node:worker_threads'
import { sendZeros } from './zeros.ts'

/**
 * A backend for bulk, run in a worker thread so that it does not slow the client down: swallows any
 * request body up to its last chunk and answers 202; answers a GET with `workerData.bytes` of zeros.
 */
const end = Buffer.from('0\r\n\r\n')

const server = createServer({ noDelay: true }, (socket) => {
  let head = ''
  let isUpload = false
  socket.on('error', () => {})
  socket.on('data', (bytes) => {
    if (!isUpload) head += bytes.toString('latin1')
    if (head.startsWith('GET') && head.includes('\r\n\r\n')) {
      head = ''
      sendZeros(socket, workerData.bytes)
      return
    }
    isUpload ||= head.startsWith('PATCH')
    if (isUpload && bytes.subarray(-end.length).equals(end)) {
      isUpload = false
      head = ''
      socket.write('HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n')
    }
  })
})
server.listen(0, '127.0.0.1', () => parentPort?.postMessage(server.address()))

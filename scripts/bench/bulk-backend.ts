/*
 * A backend that costs little, as a process of its own: `node bulk-backend.ts PORT BYTES [CERTIFICATE KEY]`.
 * Takes the body of a PATCH (with Content-Length) and answers 202; answers any GET with BYTES of zeros.
 */
import { readFileSync } from 'node:fs'
import { createServer, Socket, type SocketConstructorOpts } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import { sendZeros } from '../../test/support/zeros.ts'

const [port = '', bytes = '', certificate, key] = process.argv.slice(2)
const received = Buffer.alloc(1024 * 1024)

type Sink = Pick<Socket, 'write' | 'once' | 'destroyed'>

/** Returns a function that takes what a connection receives, piece by piece. */
function answering(socket: Sink): (chunk: Buffer) => void {
  let head = ''
  let left = 0
  return (chunk) => {
    if (left > 0) {
      left -= chunk.length
    } else {
      head += chunk.toString('latin1')
      const end = head.indexOf('\r\n\r\n')
      if (end < 0) return
      const length = /^content-length: *(\d+)/im.exec(head.slice(0, end))?.[1]
      left = Number(length ?? 0) - (head.length - end - 4)
      if (head.startsWith('GET')) sendZeros(socket, Number(bytes))
      const isDone = head.startsWith('GET') || left > 0
      head = ''
      if (isDone) return
    }
    if (left <= 0) socket.write('HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n')
  }
}

if (certificate !== undefined && key !== undefined) {
  const pair = { cert: readFileSync(certificate), key: readFileSync(key) }
  // The same for every front, whatever it would choose.
  const ciphers = 'TLS_AES_128_GCM_SHA256'
  createTlsServer({ ...pair, ciphers }, (socket) => {
    socket.on('error', () => {})
    socket.on('data', answering(socket))
  }).listen(Number(port), '127.0.0.1')
} else {
  createServer({ noDelay: true, pauseOnConnect: true }, (accepted) => {
    // A server's sockets cannot be given a buffer of ours, which takes 0.28 CPU s/GiB instead of 0.82;
    // one that is made around the same handle can.
    const { _handle: handle } = accepted as unknown as { _handle: SocketConstructorOpts['handle'] }
    const onread = {
      buffer: received,
      callback: (length: number) => {
        take(received.subarray(0, length))
        return true
      },
    }
    const socket = new Socket({ handle, onread })
    const take = answering(socket)
    socket.on('error', () => {})
    socket.on('end', () => socket.end())
    socket.resume()
  }).listen(Number(port), '127.0.0.1')
}

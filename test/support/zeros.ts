import type { Socket } from 'node:net'

const piece = Buffer.alloc(1024 * 1024)

/** Answers a download with `length` zeros, no faster than they are taken. */
export function sendZeros(
  socket: Pick<Socket, 'write' | 'once' | 'destroyed'>,
  length: number,
): void {
  let left = length
  socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${left}\r\n\r\n`)
  const more = (): void => {
    while (left > 0 && !socket.destroyed) {
      const next = piece.subarray(0, Math.min(left, piece.length))
      left -= next.length
      if (!socket.write(next)) {
        socket.once('drain', more)
        return
      }
    }
  }
  more()
}

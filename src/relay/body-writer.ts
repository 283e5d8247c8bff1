import type { Socket } from 'node:net'
import { bodyBufferBytes, giveBuffer, releaseMemory, takeBuffer } from '../lib/spare-buffers.ts'

/** How a request body is delimited; always the way it came from the client. */
export type RequestFraming =
  | { readonly kind: 'none' }
  | { readonly kind: 'sized'; readonly length: number }
  | { readonly kind: 'chunked' }

export type BodyWriter = {
  /** Sends a piece, whose memory is gone afterwards. Returns false when the caller should wait for
   *  `onDrain`. */
  write(piece: Buffer): boolean
  /** Sends what is left and the end mark. Returns false, sending nothing, if a sized body is short. */
  end(): boolean
  /** Drops what was gathered; nothing more is written. */
  stop(): void
}

/** Room in a gathering buffer for a chunk's size line before, and its line end after the content. */
const headRoom = 10
const tailRoom = 2

/** Body that may wait here and in the socket for a slow upstream. Marks below 256 KiB make the client's
 *  socket stop and start all the time. */
const maxWaitingBytes = 1024 * 1024

/**
 * Writes one request body. TLS hands over 16 KiB at a time, each in memory of its own; writing each
 * costs a system call (65,536 a GiB), and keeping each until it is written lets garbage grow by 100 MiB.
 * So the pieces that arrive in one turn of the event loop are gathered in buffers that are used again,
 * and leave together, each as one chunk when the body is chunked.
 *
 * They leave at the end of the turn and never before: an answer that the upstream gave before it closed
 * is then read before a write finds the connection closed.
 */
export function createBodyWriter(
  socket: Socket,
  framing: RequestFraming,
  onDrain: () => void,
): BodyWriter {
  const isChunked = framing.kind === 'chunked'
  let gathered: { readonly buffer: Buffer; end: number }[] = []
  let sent = 0
  let scheduled: NodeJS.Immediate | undefined
  /** A write failed: what comes still is dropped, and the connection will say what happened. */
  let isBroken = false

  const flush = (): void => {
    clearImmediate(scheduled)
    scheduled = undefined
    const leaving = gathered
    gathered = []
    if (isBroken) return
    socket.cork()
    for (const { buffer, end } of leaving) {
      const bytes = isChunked ? frameChunk(buffer, end) : buffer.subarray(headRoom, end)
      socket.write(bytes, (error) => {
        isBroken ||= error != null
        giveBuffer(buffer)
      })
    }
    socket.uncork()
  }
  const flushAndResume = (): void => {
    flush()
    if (!socket.writableNeedDrain) onDrain()
  }
  const gather = (piece: Buffer, from: number): number => {
    let last = gathered.at(-1)
    if (last === undefined || last.end === bodyBufferBytes - tailRoom) {
      last = { buffer: takeBuffer(), end: headRoom }
      gathered.push(last)
    }
    const room = bodyBufferBytes - tailRoom - last.end
    const copied = piece.copy(last.buffer, last.end, from, from + room)
    last.end += copied
    return copied
  }
  socket.on('drain', onDrain)

  return {
    write(piece) {
      sent += piece.length
      for (let at = 0; at < piece.length; ) at += gather(piece, at)
      releaseMemory(piece)
      scheduled ??= setImmediate(flushAndResume)
      return !socket.writableNeedDrain && gathered.length * bodyBufferBytes < maxWaitingBytes
    },
    end() {
      if (framing.kind === 'sized' && sent !== framing.length) return false
      flush()
      if (isChunked) socket.write('0\r\n\r\n', 'latin1')
      socket.off('drain', onDrain)
      return true
    },
    stop() {
      clearImmediate(scheduled)
      for (const { buffer } of gathered) giveBuffer(buffer)
      gathered = []
      socket.off('drain', onDrain)
    },
  }
}

/** The gathered content as one chunk, in place; RFC 9112 section 7.1. */
function frameChunk(buffer: Buffer, end: number): Buffer {
  const sizeLine = `${(end - headRoom).toString(16)}\r\n`
  const start = headRoom - sizeLine.length
  buffer.write(sizeLine, start, 'latin1')
  buffer.write('\r\n', end, 'latin1')
  return buffer.subarray(start, end + tailRoom)
}

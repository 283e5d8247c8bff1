import type { Socket } from 'node:net'

/** How a request body is delimited; always the way it came from the client. */
export type RequestFraming =
  | { readonly kind: 'none' }
  | { readonly kind: 'sized'; readonly length: number }
  | { readonly kind: 'chunked' }

export type BodyWriter = {
  /** Sends a piece. Returns false when the caller should wait for `onDrain`. */
  write(piece: Buffer): boolean
  /** Sends what is left and the end mark. Returns false, sending nothing, if a sized body is short. */
  end(): boolean
  /** Drops what was gathered; nothing more is written. */
  stop(): void
}

/** Gathered pieces are written at the latest when they have this size. */
const gatherBytes = 256 * 1024

/**
 * Writes one request body. TLS hands over 16 KiB at a time; writing each on its own costs a system
 * call a record (65,536 a GiB), so the pieces that arrive in one turn of the event loop go out
 * together, as one chunk when the body is chunked.
 */
export function createBodyWriter(
  socket: Socket,
  framing: RequestFraming,
  onDrain: () => void,
): BodyWriter {
  let gathered: Buffer[] = []
  let size = 0
  let sent = 0
  let scheduled: NodeJS.Immediate | undefined

  const flush = (): void => {
    clearImmediate(scheduled)
    scheduled = undefined
    if (size === 0 || socket.destroyed) return
    socket.cork()
    if (framing.kind === 'chunked') socket.write(`${size.toString(16)}\r\n`, 'latin1')
    for (const piece of gathered) socket.write(piece)
    if (framing.kind === 'chunked') socket.write('\r\n', 'latin1')
    socket.uncork()
    gathered = []
    size = 0
  }
  const flushAndResume = (): void => {
    flush()
    if (!socket.writableNeedDrain) onDrain()
  }
  socket.on('drain', onDrain)

  return {
    write(piece) {
      sent += piece.length
      size += piece.length
      gathered.push(piece)
      if (size >= gatherBytes) flush()
      else scheduled ??= setImmediate(flushAndResume)
      return !socket.writableNeedDrain
    },
    end() {
      if (framing.kind === 'sized' && sent !== framing.length) return false
      flush()
      if (framing.kind === 'chunked') socket.write('0\r\n\r\n', 'latin1')
      socket.off('drain', onDrain)
      return true
    },
    stop() {
      clearImmediate(scheduled)
      gathered = []
      size = 0
      socket.off('drain', onDrain)
    },
  }
}

/** Size of the buffers that bodies pass through: TLS costs less per byte the more it gets at once. */
export const bodyBufferBytes = 256 * 1024
/** Buffers kept for the next body when nobody uses them: at most 4 MiB. */
const maxSpare = 16

const spare: Buffer[] = []

/** A buffer of `bodyBufferBytes` with arbitrary content. The caller gives it back when it is done. */
export function takeBuffer(): Buffer {
  return spare.pop() ?? Buffer.allocUnsafeSlow(bodyBufferBytes)
}

/** Takes back a buffer that nobody reads or writes any more. */
export function giveBuffer(buffer: Buffer): void {
  if (spare.length < maxSpare) spare.push(buffer)
}

/**
 * Frees a piece's memory now, not when the collector comes round to it: at 600 MB/s of small
 * external buffers it comes too late. Only for memory that is the piece's alone.
 */
export function releaseMemory(piece: Buffer): void {
  if (piece.byteLength === piece.buffer.byteLength && piece.buffer instanceof ArrayBuffer) {
    piece.buffer.transfer(0)
  }
}

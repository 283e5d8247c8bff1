import type { Socket } from 'node:net'

const tlsHandshakeRecord = 0x16

/**
 * Waits for a connection's first bytes, puts them back, and says whether they begin a TLS handshake;
 * RFC 8446 section 5.1. Undefined: the peer left, or said nothing for `timeoutMs`, and the socket is
 * destroyed.
 */
export async function startsTls(socket: Socket, timeoutMs: number): Promise<boolean | undefined> {
  const { promise, resolve } = Promise.withResolvers<Buffer | null>()
  const timer = setTimeout(resolve, timeoutMs, null)
  const onReadable = (): void => resolve(socket.read())
  const onGone = (): void => resolve(null)
  socket.once('readable', onReadable).once('error', onGone).once('close', onGone)
  const bytes = await promise
  clearTimeout(timer)
  socket.off('readable', onReadable).off('close', onGone)
  if (bytes === null || socket.destroyed) {
    socket.destroy()
    return undefined
  }
  // Still an error listener: whoever takes the socket over adds its own before this one goes.
  setImmediate(() => socket.off('error', onGone))
  socket.unshift(bytes)
  return bytes[0] === tlsHandshakeRecord
}

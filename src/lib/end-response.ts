import type { IncomingMessage, ServerResponse } from 'node:http'

/** What of an unwanted body is still taken in, so that its sender gets to read the answer: until nothing
 *  came for half a second, at most this long; after so many bytes nothing more, for some clients read only
 *  when they cannot write. */
const quietMs = 500
const maxLingerMs = 2000
const maxLingerBytes = 16 * 1024 * 1024

/**
 * Takes in a body that nobody wants and forgets it, up to a bound. Reading on is what shows that the
 * client has left.
 */
export function discardBody(req: IncomingMessage): void {
  let bytes = 0
  req.on('data', (chunk: Buffer) => {
    bytes += chunk.length
    if (bytes > maxLingerBytes) req.pause()
  })
  req.resume()
}

/**
 * Ends a response whose head and body are written. If its request is still arriving, the rest is
 * discarded for a moment first: a socket closed over unread bytes is reset, and a reset takes the
 * answer away from a client that has not read it yet. Such a response must say `Connection: close`.
 */
export function endResponse(req: IncomingMessage, res: ServerResponse): void {
  if (req.complete || req.destroyed) {
    res.end()
    return
  }
  // Without a body nothing has been sent yet, and the wait would be for nothing.
  res.flushHeaders()
  let bytes = 0
  const finish = (): void => {
    clearTimeout(quiet)
    clearTimeout(deadline)
    req.off('data', count).off('end', finish).off('close', finish)
    res.end()
  }
  const count = (chunk: Buffer): void => {
    bytes += chunk.length
    quiet.refresh()
    if (bytes > maxLingerBytes) req.pause()
  }
  const quiet = setTimeout(finish, quietMs).unref()
  const deadline = setTimeout(finish, maxLingerMs).unref()
  req.on('data', count).on('end', finish).on('close', finish)
  req.resume()
}

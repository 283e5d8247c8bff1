import type { ServerResponse } from 'node:http'
import { createIdleTimer } from '../../lib/idle-timer.ts'
import { giveLargeBuffer, takeLargeBuffer } from '../../lib/large-buffers.ts'
import type { StoredReader } from '../../storage/driver.ts'
import type { RoutedExchange } from '../exchange.ts'

type Head = { readonly status: number; readonly headers: readonly string[] }

/** Part of a file that is to be sent. */
export type StoredPart = {
  readonly reader: StoredReader
  readonly position: number
  readonly length: number
}

/** Up to here a file is sent from memory of its own, in one write together with the head. */
const smallBytes = 64 * 1024

/** Sends an answer whose body is in memory, with one write. The memory is the answer's from now on. */
export function sendBytes(
  { req, res, headers: own, progress }: RoutedExchange,
  { status, headers }: Head,
  bytes: Buffer,
): void {
  res.writeHead(status, [...own(), ...headers, 'Content-Length', String(bytes.length)])
  if (req.method === 'HEAD') {
    res.end()
    return
  }
  progress.bytesOut += bytes.length
  res.end(bytes)
}

/**
 * Sends a part of a file as the body of an answer; resolves when the client has taken it, or has left.
 * When it rejects, and the head is out, the answer must be broken, not ended.
 */
export async function sendStored(
  exchange: RoutedExchange,
  head: Head,
  part: StoredPart,
  idleTimeoutMs: number,
): Promise<void> {
  if (part.length > smallBytes) {
    await sendLarge(exchange, head, part, idleTimeoutMs)
    return
  }
  const bytes = Buffer.allocUnsafeSlow(part.length)
  await readWhole(part.reader, bytes, part.position)
  sendBytes(exchange, head, bytes)
}

/**
 * Two buffers in turn, if one does not hold it all: the next part is read into one while the client
 * takes what is in the other. A buffer is used again only after the write of its content was called back.
 */
async function sendLarge(
  exchange: RoutedExchange,
  { status, headers }: Head,
  { reader, position, length }: StoredPart,
  idleTimeoutMs: number,
): Promise<void> {
  const { res, progress } = exchange
  const client = watchClient(res, idleTimeoutMs)
  const buffers: Buffer[] = []
  let taken = Promise.resolve(!res.destroyed)
  try {
    for (let sent = 0, turn = 0; sent < length; turn += 1) {
      const buffer = buffers[turn % 2] ?? takeLargeBuffer(length - sent)
      buffers[turn % 2] = buffer
      const piece = buffer.subarray(0, Math.min(buffer.length, length - sent))
      await readWhole(reader, piece, position + sent)
      if (!(await taken)) return
      if (!res.headersSent)
        res.writeHead(status, [...exchange.headers(), ...headers, 'Content-Length', String(length)])
      sent += piece.length
      progress.bytesOut += piece.length
      taken = client.take(piece)
      if (sent === length) res.end()
    }
  } catch (error) {
    if (res.headersSent) res.destroy()
    throw error
  } finally {
    await taken
    client.forget()
    for (const buffer of buffers) giveLargeBuffer(buffer)
  }
}

/** Fills `buffer`. A file that ends before is not what it was when its length was told to the client. */
async function readWhole(reader: StoredReader, buffer: Buffer, position: number): Promise<void> {
  const bytes = await reader.read(buffer, position)
  if (bytes < buffer.length) {
    throw new Error(`a file of ${reader.stat.size} bytes ended at ${position + bytes}`)
  }
}

type Client = {
  /** Writes `bytes`. True once the client's side has taken them; false once it is gone and nobody
   *  looks at their memory any more. Never rejects; one call at a time. */
  take(bytes: Buffer): Promise<boolean>
  forget(): void
}

/** A client that takes nothing for too long is cut off; the time in which it has nothing to take does
 *  not count. */
function watchClient(res: ServerResponse, idleTimeoutMs: number): Client {
  let settle: ((isTaken: boolean) => void) | undefined
  const timer = createIdleTimer(idleTimeoutMs, () => {
    if (settle === undefined) timer.allow(idleTimeoutMs)
    else res.destroy()
  })
  const onClose = (): void => settle?.(false)
  res.on('close', onClose)

  return {
    async take(bytes) {
      if (res.destroyed) return false
      const { promise, resolve } = Promise.withResolvers<boolean>()
      settle = resolve
      timer.touch()
      res.write(bytes, (error) => resolve(error == null))
      const isTaken = await promise
      settle = undefined
      timer.touch()
      return isTaken
    },
    forget() {
      timer.stop()
      res.off('close', onClose)
    },
  }
}

/** Cuts off a client that takes too long over the answer that was given to it. */
export function limitDelivery(res: ServerResponse, idleTimeoutMs: number): void {
  if (res.writableFinished || res.destroyed) return
  const timer = createIdleTimer(idleTimeoutMs, () => res.destroy())
  res.on('close', timer.stop)
}

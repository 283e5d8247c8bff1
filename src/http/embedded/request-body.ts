import type { IncomingMessage } from 'node:http'
import type { ByteSource } from '../../lib/byte-source.ts'
import { RegistryError } from '../../lib/errors.ts'
import { createIdleTimer, type IdleTimer } from '../../lib/idle-timer.ts'
import { releaseMemory } from '../../lib/spare-buffers.ts'
import type { Exchange } from '../exchange.ts'

/** The client left before its request was complete. Nobody is there to be answered. */
export class ClientGone extends Error {
  override readonly name = 'ClientGone'
}

/** A request body that is taken in at the pace of its consumer. Whoever made it disposes of it. */
export type RequestBody = ByteSource &
  Disposable & {
    /** Tells a client that asked first that its body is wanted; RFC 9110 section 10.1.1. */
    accept(): void
  }

type Limits = {
  /** Longest wait for the client. The time in which nobody asks for its bytes does not count. */
  readonly idleTimeoutMs: number
  readonly maxBodyBytes: number | undefined
}

/** A caller that waits for its buffer to be filled. */
type Waiting = {
  readonly buffer: Buffer
  filled: number
  readonly timer: IdleTimer
  readonly settled: PromiseWithResolvers<number>
}

/** Bytes of body that a request announces; undefined if it does not say. 0 if it has no body. */
export function bodyLength({ headers }: IncomingMessage): number | undefined {
  return headers['transfer-encoding'] === undefined
    ? Number(headers['content-length'] ?? 0)
    : undefined
}

/**
 * The body of a request as a source of bytes. TLS hands over 16 KiB at a time, each in memory of its
 * own: the pieces are copied together in the consumer's large buffers, and freed at once.
 *
 * While nobody waits for bytes the request is paused, so at most one piece is kept here beside what
 * Node buffers. Whatever ends a body early (the client leaves, stands still, sends too much) rejects,
 * after what had arrived was handed out; only a body that is complete ever ends with 0.
 * @throws ClientGone, REQUEST_TIMEOUT, REQUEST_TOO_LARGE
 */
export function createRequestBody(
  { req, res, expectsContinue, progress }: Exchange,
  { idleTimeoutMs, maxBodyBytes = Number.POSITIVE_INFINITY }: Limits,
): RequestBody {
  let waiting: Waiting | undefined
  /** A piece that arrived, and how much of it was handed out. */
  let rest: { readonly piece: Buffer; at: number } | undefined
  let isComplete = false
  let failure: Error | undefined
  let isAccepted = !expectsContinue

  const settle = (): void => {
    if (waiting === undefined) return
    const { filled, timer, settled } = waiting
    waiting = undefined
    timer.stop()
    if (filled === 0 && failure !== undefined) settled.reject(failure)
    else settled.resolve(filled)
  }
  const fail = (error: Error): void => {
    failure ??= error
    req.pause()
    settle()
  }
  const onData = (piece: Buffer): void => {
    progress.bytesIn += piece.length
    if (progress.bytesIn > maxBodyBytes) {
      fail(new RegistryError('REQUEST_TOO_LARGE', { maxBodyBytes }))
      return
    }
    rest = { piece, at: 0 }
    if (waiting !== undefined) {
      waiting.timer.touch()
      moveRest(waiting)
      if (waiting.filled < waiting.buffer.length) return
    }
    req.pause()
    settle()
  }
  const moveRest = (to: { readonly buffer: Buffer; filled: number }): void => {
    if (rest === undefined) return
    const copied = rest.piece.copy(to.buffer, to.filled, rest.at)
    to.filled += copied
    rest.at += copied
    if (rest.at < rest.piece.length) return
    releaseMemory(rest.piece)
    rest = undefined
  }
  const onEnd = (): void => {
    isComplete = req.complete
    if (!isComplete) failure ??= new ClientGone()
    settle()
  }
  const onClose = (): void => {
    if (isComplete || failure !== undefined) return
    // A destroyed stream emits nothing any more, but still gives away what it has.
    req.off('data', onData)
    const unread: Buffer | null = req.read()
    if (unread !== null) {
      progress.bytesIn += unread.length
      const earlier = rest === undefined ? [] : [rest.piece.subarray(rest.at)]
      rest = { piece: Buffer.concat([...earlier, unread]), at: 0 }
    }
    if (waiting !== undefined) moveRest(waiting)
    fail(new ClientGone())
  }

  // Before `data` is listened to, which would set it flowing.
  req.pause()
  req.on('data', onData).on('end', onEnd).on('close', onClose)
  if (req.destroyed) onClose()

  return {
    length: bodyLength(req),
    accept() {
      if (!isAccepted && !res.destroyed) res.writeContinue()
      isAccepted = true
    },
    fill(buffer) {
      const state = { buffer, filled: 0 }
      moveRest(state)
      const isBroken = failure !== undefined
      if (isComplete || state.filled === buffer.length || (isBroken && state.filled > 0))
        return Promise.resolve(state.filled)
      if (isBroken) return Promise.reject(failure)
      const onIdle = (): void => fail(new RegistryError('REQUEST_TIMEOUT'))
      const timer = createIdleTimer(idleTimeoutMs, onIdle)
      const settled = Promise.withResolvers<number>()
      waiting = { ...state, timer, settled }
      req.resume()
      return settled.promise
    },
    [Symbol.dispose]() {
      // Whoever still waits may have given up itself; its buffer is free from now on.
      waiting?.settled.promise.catch(() => {})
      failure ??= new Error('the request body was abandoned')
      settle()
      req.off('data', onData).off('end', onEnd).off('close', onClose)
      // What nobody wants any more flows off, or the connection would stand still over it.
      if (!isComplete) req.resume()
    },
  }
}

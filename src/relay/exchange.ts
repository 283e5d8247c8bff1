import type { IncomingMessage, ServerResponse } from 'node:http'
import { discardBody, endResponse } from '../lib/end-response.ts'
import { RegistryError } from '../lib/errors.ts'
import { createIdleTimer } from '../lib/idle-timer.ts'
import type { Connection, RequestHead, ResponseListener } from './connection.ts'
import type { ResponseHead } from './response-head.ts'

/** One request to pass on, as the front understands it. */
export type RelayedExchange = {
  readonly id: string
  readonly req: IncomingMessage
  readonly res: ServerResponse
  readonly origin: {
    readonly scheme: 'http' | 'https'
    /** Host and port that the client used. */
    readonly authority: string
    readonly clientAddress: string
  }
  /** The client waits for `100 Continue` before it sends its body. */
  readonly expectsContinue: boolean
  /** Headers of the front for an answer that begins now: name and value in turn. */
  readonly headers: () => readonly string[]
  /** Bytes of body that have passed each way. */
  readonly progress: { bytesIn: number; bytesOut: number }
}

export type ExchangeSettings = {
  readonly head: RequestHead
  readonly responseHeaders: (head: ResponseHead) => string[]
  readonly maxBodyBytes: number
  readonly timeouts: { readonly response: number; readonly idle: number }
}

/**
 * Runs one exchange. The rule of every failure: what broke on one side is broken, never ended, on the
 * other, so that neither takes half a body for a whole one. Resolves when it is over or the client has
 * left; `'retry'` if the connection died before it could have been used, and the request has no body.
 * Rejects with what the upstream's side did wrong, if need be in the middle of the answer.
 */
export function runExchange(
  connection: Connection,
  { req, res, progress, expectsContinue }: RelayedExchange,
  { head, responseHeaders, maxBodyBytes, timeouts }: ExchangeSettings,
): Promise<'done' | 'retry'> {
  const { promise, resolve, reject } = Promise.withResolvers<'done' | 'retry'>()
  const hasBody = head.framing.kind !== 'none'
  let isRequestSent = !hasBody
  let isOver = false
  let isAnswered = false
  /** Pieces of the answer that the client has not taken yet. */
  let untaken = 0

  const settle = (): void => {
    isOver = true
    stopUpload()
  }
  const stopUpload = (): void => {
    if (!hasBody) return
    req.off('data', onClientData).off('end', onClientEnd)
    if (!isRequestSent) req.pause()
  }
  const giveUp = (error: RegistryError): void => {
    connection.destroy()
    settle()
    reject(error)
  }

  const onClientData = (piece: Buffer): void => {
    timer.touch()
    progress.bytesIn += piece.length
    if (progress.bytesIn > maxBodyBytes)
      giveUp(new RegistryError('REQUEST_TOO_LARGE', { maxBodyBytes }))
    else if (!connection.write(piece)) req.pause()
  }
  const onClientEnd = (): void => {
    isRequestSent = true
    connection.end()
    timer.allow(timeouts.response)
  }
  const onClientClose = (): void => {
    timer.stop()
    if (isOver) return
    connection.destroy()
    settle()
    resolve('done')
  }
  const onIdle = (): void => {
    // The connection is others' by now; only the client has not taken all of its answer yet.
    if (isAnswered) {
      res.destroy()
      return
    }
    const isUploadStalled = !isRequestSent && !req.isPaused() && !res.headersSent
    const isClientStalled = isUploadStalled || untaken > 0
    giveUp(new RegistryError(isClientStalled ? 'REQUEST_TIMEOUT' : 'UPSTREAM_TIMEOUT'))
  }

  const listener: ResponseListener = {
    onHead(responseHead) {
      timer.allow(timeouts.idle)
      const headers = responseHeaders(responseHead)
      // The upstream has decided without the rest of the body; there is no use in sending it.
      if (!isRequestSent) {
        stopUpload()
        discardBody(req)
        if (!headers.includes('Connection')) headers.push('Connection', 'close')
      }
      res.writeHead(responseHead.status, responseHead.reason, headers)
      if (!isRequestSent) res.flushHeaders()
    },
    onData(piece, release) {
      timer.touch()
      progress.bytesOut += piece.length
      untaken += 1
      res.write(piece, () => {
        untaken -= 1
        timer.touch()
        release()
      })
    },
    onEnd() {
      isAnswered = true
      settle()
      endResponse(req, res)
      resolve('done')
    },
    onError(error, answered) {
      const isUnused = connection.reused && !answered && !hasBody
      if (!isUnused) return giveUp(error)
      timer.stop()
      settle()
      resolve('retry')
    },
    onDrain: () => void req.resume(),
  }

  const timer = createIdleTimer(hasBody ? timeouts.idle : timeouts.response, onIdle)
  res.on('close', onClientClose)
  if (res.destroyed) onClientClose()
  else start()
  return promise

  function start(): void {
    connection.send(head, listener)
    if (expectsContinue) res.writeContinue()
    if (hasBody) req.on('data', onClientData).on('end', onClientEnd).resume()
  }
}

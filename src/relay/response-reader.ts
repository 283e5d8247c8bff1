import { RegistryError } from '../lib/errors.ts'
import { type ChunkedDecoder, createChunkedDecoder } from './chunked.ts'
import { maxHeadBytes, parseResponseHead, type ResponseHead } from './response-head.ts'

export type ResponseSink = {
  /** The final head; interim (1xx) ones are passed over. */
  onHead(head: ResponseHead): void
  /** A piece of the body: a view into the bytes that were read, valid only during the call. */
  onPiece(piece: Buffer): void
  /** The response is complete. `reusable`: the connection may carry another request. */
  onEnd(reusable: boolean): void
}

export type ResponseReader = {
  /** Expects the answer to one request of `method`; one at a time. */
  expect(method: string, sink: ResponseSink): void
  /** Takes received bytes. @throws UPSTREAM_INVALID when they are not the one answer expected */
  read(bytes: Buffer): void
  /** The peer will send no more. @throws UPSTREAM_INVALID when that cuts an answer short */
  end(): void
  /** Body bytes that are still to come: Infinity when nobody can know, 0 outside a body. */
  readonly remaining: number
}

type State =
  | { readonly kind: 'idle' }
  | { readonly kind: 'head'; text: string }
  | { readonly kind: 'sized'; left: number }
  | { readonly kind: 'chunked'; readonly decoder: ChunkedDecoder }
  | { readonly kind: 'until-close' }

const idle: State = { kind: 'idle' }
const blankLine = '\r\n\r\n'

/** Turns the bytes of one upstream connection into one response per request; RFC 9112. */
export function createResponseReader(): ResponseReader {
  let state: State = idle
  let method = ''
  let keepAlive = false
  let sink: ResponseSink | undefined

  const finish = (isLastByte: boolean): void => {
    const finished = sink
    state = idle
    sink = undefined
    finished?.onEnd(keepAlive && isLastByte)
  }

  /** Returns how many of `bytes` belonged to the head. */
  const readHead = (head: { text: string }, bytes: Buffer, at: number): number => {
    const before = head.text.length
    const limit = maxHeadBytes + blankLine.length
    head.text += bytes.toString('latin1', at, Math.min(bytes.length, at + limit - before))
    const end = head.text.indexOf(blankLine, Math.max(0, before - blankLine.length + 1))
    if (end === -1 && head.text.length >= limit) invalid('its headers are too large')
    if (end === -1) return bytes.length - at
    const parsed = parseResponseHead(head.text.slice(0, end), method)
    const used = end + blankLine.length - before
    if (parsed.status === 101) invalid('it switched protocols unasked')
    if (parsed.status < 200) {
      if (!parsed.keepAlive) invalid('its interim answer closes the connection')
      state = { kind: 'head', text: '' }
      return used
    }
    startBody(parsed, at + used === bytes.length)
    return used
  }

  const startBody = (head: ResponseHead, isLastByte: boolean): void => {
    keepAlive = head.keepAlive
    switch (head.framing.kind) {
      case 'sized':
        state = { kind: 'sized', left: head.framing.length }
        break
      case 'chunked':
        state = { kind: 'chunked', decoder: createChunkedDecoder() }
        break
      case 'until-close':
        state = { kind: 'until-close' }
        break
      case 'none':
        sink?.onHead(head)
        finish(isLastByte)
        return
    }
    sink?.onHead(head)
  }

  const readSized = (body: { left: number }, bytes: Buffer, at: number): number => {
    const piece = bytes.subarray(at, at + body.left)
    body.left -= piece.length
    sink?.onPiece(piece)
    if (body.left === 0) finish(at + piece.length === bytes.length)
    return piece.length
  }

  const readChunked = (decoder: ChunkedDecoder, bytes: Buffer, at: number): number => {
    const used = decoder.decode(bytes.subarray(at), (piece) => sink?.onPiece(piece))
    if (decoder.done) finish(at + used === bytes.length)
    return used
  }

  const readSome = (bytes: Buffer, at: number): number => {
    switch (state.kind) {
      case 'idle':
        return invalid('it sent bytes that no request asked for')
      case 'head':
        return readHead(state, bytes, at)
      case 'sized':
        return readSized(state, bytes, at)
      case 'chunked':
        return readChunked(state.decoder, bytes, at)
      case 'until-close':
        sink?.onPiece(bytes.subarray(at))
        return bytes.length - at
    }
  }

  return {
    expect(requestMethod, responseSink) {
      if (state.kind !== 'idle') throw new TypeError('one request at a time')
      method = requestMethod
      sink = responseSink
      state = { kind: 'head', text: '' }
    },
    read(bytes) {
      let at = 0
      while (at < bytes.length) at += readSome(bytes, at)
    },
    end() {
      if (state.kind === 'until-close') finish(false)
      else if (state.kind !== 'idle') invalid('the connection closed before its end')
    },
    get remaining() {
      if (state.kind === 'sized') return state.left
      return state.kind === 'chunked' || state.kind === 'until-close' ? Number.POSITIVE_INFINITY : 0
    },
  }
}

function invalid(reason: string): never {
  throw new RegistryError('UPSTREAM_INVALID', { reason })
}

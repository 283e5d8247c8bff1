import { RegistryError } from '../lib/errors.ts'
import { isFramingField, parseFieldLine } from './response-head.ts'

/** Bytes of chunk extensions or trailers after which a body is no longer taken seriously. */
const maxLineBytes = 4096
const maxTrailerBytes = 16 * 1024

type State = 'size' | 'data' | 'data-end' | 'trailer' | 'done'

export type ChunkedDecoder = {
  /**
   * Takes the next bytes of the body, calls `onData` with each piece of content in them (views, not
   * copies) and returns how many bytes belonged to the body. @throws UPSTREAM_INVALID
   */
  decode(bytes: Buffer, onData: (piece: Buffer) => void): number
  readonly done: boolean
}

const CR = 0x0d
const LF = 0x0a

/**
 * Reads the chunked transfer coding; RFC 9112 section 7.1. Extensions and trailers are passed over
 * within bounds. Line ends are CR LF and nothing else: tolerating a bare LF is how two parsers come to
 * disagree about where a body ends.
 */
export function createChunkedDecoder(): ChunkedDecoder {
  let state: State = 'size'
  let line = ''
  let left = 0
  let trailerBytes = 0

  /** Consumes up to and including CR LF; undefined while the line is not complete. */
  const readLine = (bytes: Buffer, at: number): { text: string; next: number } | undefined => {
    const end = bytes.indexOf(LF, at)
    const next = end === -1 ? bytes.length : end + 1
    line += bytes.toString('latin1', at, next)
    if (line.length > maxLineBytes) invalid('a chunk line is too long')
    if (end === -1) return undefined
    const text = line
    line = ''
    if (text.charCodeAt(text.length - 2) !== CR) invalid('a chunk line does not end in CR LF')
    return { text: text.slice(0, -2), next }
  }

  const lineDecoders = {
    size(text: string): State {
      left = parseChunkSize(text)
      return left === 0 ? 'trailer' : 'data'
    },
    'data-end'(text: string): State {
      if (text !== '') invalid('a chunk is longer than its size')
      return 'size'
    },
    trailer(text: string): State {
      trailerBytes += text.length
      if (trailerBytes > maxTrailerBytes) invalid('its trailers are too large')
      if (text === '') return 'done'
      const [name] = parseFieldLine(text)
      if (isFramingField(name)) invalid('a trailer speaks about framing')
      return 'trailer'
    },
  }

  const decode = (bytes: Buffer, onData: (piece: Buffer) => void): number => {
    let at = 0
    while (at < bytes.length && state !== 'done') {
      if (state === 'data') {
        const piece = bytes.subarray(at, at + left)
        at += piece.length
        left -= piece.length
        if (left === 0) state = 'data-end'
        onData(piece)
        continue
      }
      const read = readLine(bytes, at)
      if (read === undefined) return bytes.length
      at = read.next
      state = lineDecoders[state](read.text)
    }
    return at
  }

  return {
    decode,
    get done() {
      return state === 'done'
    },
  }
}

const token = "[!#$%&'*+\\-.^_`|~0-9A-Za-z]+"
const quoted =
  '"(?:[\\t\\x20\\x21\\x23-\\x5b\\x5d-\\x7e\\x80-\\xff]|\\\\[\\t\\x20-\\x7e\\x80-\\xff])*"'
const sizeLine = new RegExp(`^([0-9a-fA-F]{1,13})(?:;${token}(?:=(?:${token}|${quoted}))?)*$`)

/** chunk-size, and extensions that are checked and ignored; RFC 9112 section 7.1.1. */
function parseChunkSize(text: string): number {
  const match = sizeLine.exec(text)
  if (match === null) invalid('a chunk size is malformed')
  return Number.parseInt(match[1] ?? '', 16)
}

function invalid(reason: string): never {
  throw new RegistryError('UPSTREAM_INVALID', { reason })
}

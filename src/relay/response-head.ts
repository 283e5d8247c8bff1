import { RegistryError } from '../lib/errors.ts'

/** How the end of a response body is found; RFC 9112 section 6.3. */
export type BodyFraming =
  | { readonly kind: 'none' }
  | { readonly kind: 'sized'; readonly length: number }
  | { readonly kind: 'chunked' }
  | { readonly kind: 'until-close' }

export type ResponseHead = {
  readonly status: number
  readonly reason: string
  /** Name, value, name, value …, in the order and spelling received, latin1. */
  readonly rawHeaders: readonly string[]
  readonly framing: BodyFraming
  /** False when the connection ends with this response. */
  readonly keepAlive: boolean
}

/** Where the blank line that ends a head must be found, in bytes. Registries answer within 2 KiB. */
export const maxHeadBytes = 64 * 1024

const statusLine = /^HTTP\/1\.([01]) ([1-5][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*))?$/
/** A name, a colon, a value with blanks around it; RFC 9112 section 5. */
const fieldLine = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*$/
const tab = 0x09
const space = 0x20

/**
 * One header or trailer line as name and value; RFC 9112 section 5.
 * @throws UPSTREAM_INVALID
 */
export function parseFieldLine(line: string): [name: string, value: string] {
  if (!fieldLine.test(line)) invalid('a header line is malformed')
  const colon = line.indexOf(':')
  const name = line.slice(0, colon)
  if (isFramingField(name) && line.includes('\t')) invalid('a framing header holds a tab')
  return [name, trimBlanks(line, colon + 1)]
}

/** `text` from `start` on, OWS taken off, RFC 9110 section 5.6.3; `trim` would take non-breaking
 *  spaces too. */
function trimBlanks(text: string, start: number): string {
  let from = start
  let to = text.length
  while (from < to && isBlank(text.charCodeAt(from))) from += 1
  while (to > from && isBlank(text.charCodeAt(to - 1))) to -= 1
  return text.slice(from, to)
}

function isBlank(code: number): boolean {
  return code === space || code === tab
}

/** True for a header that decides where a body ends; such a one has no place in trailers. */
export function isFramingField(name: string): boolean {
  const key = name.toLowerCase()
  return key === 'content-length' || key === 'transfer-encoding'
}

/**
 * Parses one response head, without its blank line; RFC 9112 sections 4 and 5. Strict on purpose: a
 * head with two possible readings (folded lines, bare CR, two lengths, length beside chunked, an
 * unknown transfer coding) is where responses get attached to the wrong request.
 * @throws UPSTREAM_INVALID
 */
export function parseResponseHead(text: string, requestMethod: string): ResponseHead {
  const [first = '', ...lines] = text.split('\r\n')
  const status = statusLine.exec(first)
  if (status === null) invalid('its status line is malformed')
  const [, minor, digits = '', reason = ''] = status
  const rawHeaders: string[] = []
  const fields: FramingFields = {
    contentLength: undefined,
    transferEncoding: undefined,
    closes: false,
  }
  for (const line of lines) {
    const [name, value] = parseFieldLine(line)
    rawHeaders.push(name, value)
    noteFraming(fields, name, value)
  }
  const code = Number(digits)
  const framing = framingOf(code, requestMethod, fields)
  const keepAlive = minor === '1' && !fields.closes && framing.kind !== 'until-close'
  return { status: code, reason, rawHeaders, framing, keepAlive }
}

/** The three headers that decide where the body ends, and whether the connection ends with it. */
type FramingFields = {
  contentLength: string | undefined
  transferEncoding: string | undefined
  closes: boolean
}

function noteFraming(fields: FramingFields, name: string, value: string): void {
  switch (name.toLowerCase()) {
    case 'content-length':
      if (fields.contentLength !== undefined) invalid('it has two Content-Length headers')
      fields.contentLength = value
      break
    case 'transfer-encoding':
      if (fields.transferEncoding !== undefined) invalid('it has two Transfer-Encoding headers')
      fields.transferEncoding = value.toLowerCase()
      break
    case 'connection':
      fields.closes ||= /(?:^|[,\s])close(?:$|[,\s])/i.test(value)
      break
  }
}

function framingOf(status: number, requestMethod: string, fields: FramingFields): BodyFraming {
  const { contentLength, transferEncoding } = fields
  if (contentLength !== undefined && transferEncoding !== undefined) {
    invalid('it has both Content-Length and Transfer-Encoding')
  }
  const length = contentLength === undefined ? undefined : parseLength(contentLength)
  if (transferEncoding !== undefined && transferEncoding !== 'chunked') {
    invalid('its transfer coding is not supported')
  }
  if (requestMethod === 'HEAD' || status < 200 || status === 204 || status === 304) {
    return { kind: 'none' }
  }
  if (transferEncoding !== undefined) return { kind: 'chunked' }
  if (length === 0) return { kind: 'none' }
  return length === undefined ? { kind: 'until-close' } : { kind: 'sized', length }
}

function parseLength(value: string): number {
  const length = /^[0-9]{1,16}$/.test(value) ? Number(value) : Number.NaN
  if (!Number.isSafeInteger(length)) invalid('its Content-Length is not a number of bytes')
  return length
}

function invalid(reason: string): never {
  throw new RegistryError('UPSTREAM_INVALID', { reason })
}

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
const fieldName = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
const notInValue = /[^\t\x20-\x7e\x80-\xff]/

/**
 * One header or trailer line as name and value; RFC 9112 section 5.
 * @throws UPSTREAM_INVALID
 */
export function parseFieldLine(line: string): [name: string, value: string] {
  const colon = line.indexOf(':')
  const name = line.slice(0, Math.max(0, colon))
  const raw = line.slice(colon + 1)
  if (!fieldName.test(name) || notInValue.test(raw)) invalid('a header line is malformed')
  const value = trimBlanks(raw)
  if (isFramingField(name) && raw.includes('\t')) invalid('a framing header holds a tab')
  return [name, value]
}

/** OWS taken off, RFC 9110 section 5.6.3; `trim` would take non-breaking spaces too. */
function trimBlanks(text: string): string {
  const isBlank = (index: number): boolean => text[index] === ' ' || text[index] === '\t'
  let start = 0
  let end = text.length
  while (start < end && isBlank(start)) start += 1
  while (end > start && isBlank(end - 1)) end -= 1
  return text.slice(start, end)
}

/** True for a header that decides where a body ends; such a one has no place in trailers. */
export function isFramingField(name: string): boolean {
  return /^(?:content-length|transfer-encoding)$/i.test(name)
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
  const fields = createFramingFields()
  for (const line of lines) {
    const [name, value] = parseFieldLine(line)
    rawHeaders.push(name, value)
    fields.note(name, value)
  }
  const code = Number(digits)
  const framing = framingOf(code, requestMethod, fields)
  const keepAlive = minor === '1' && !fields.closes && framing.kind !== 'until-close'
  return { status: code, reason, rawHeaders, framing, keepAlive }
}

type FramingFields = {
  note(name: string, value: string): void
  readonly contentLength: string | undefined
  readonly transferEncoding: string | undefined
  readonly closes: boolean
}

/** Collects, while the head is read, the three headers that decide where the body ends. */
function createFramingFields(): FramingFields {
  let contentLength: string | undefined
  let transferEncoding: string | undefined
  let closes = false
  const note = (name: string, value: string): void => {
    switch (name.toLowerCase()) {
      case 'content-length':
        if (contentLength !== undefined) invalid('it has two Content-Length headers')
        contentLength = value
        break
      case 'transfer-encoding':
        if (transferEncoding !== undefined) invalid('it has two Transfer-Encoding headers')
        transferEncoding = value.toLowerCase()
        break
      case 'connection':
        closes ||= /(?:^|[,\s])close(?:$|[,\s])/i.test(value)
        break
    }
  }
  return {
    note,
    get contentLength() {
      return contentLength
    },
    get transferEncoding() {
      return transferEncoding
    },
    get closes() {
      return closes
    },
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

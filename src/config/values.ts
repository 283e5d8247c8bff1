import { validateHeaderValue } from 'node:http'
import { isIP } from 'node:net'
import { parseDuration, parseSize } from '../lib/units.ts'

/** Where a server listens: a TCP port (0 = any free one) on one or every interface, or a socket file. */
export type ListenAddress = { host?: string; port: number } | { path: string }

// The parsers below turn one text of the configuration into a value. Each throws a RangeError whose
// message tells the operator what is expected; the caller adds where the text stands and what it is.

/** `:5000`, `host:443`, `[::1]:443` or `unix:/run/tidegate.sock`. @throws RangeError */
export function parseListenAddress(text: string): ListenAddress {
  if (text.startsWith('unix:')) {
    const path = text.slice('unix:'.length)
    if (path.includes('/')) return { path }
    throw new RangeError('expected the path of a socket file, such as /run/tidegate.sock')
  }
  const [, bracketed, name, digits] = /^(?:\[([^\]]*)\]|([^:[\]/\s]*)):(\d+)$/.exec(text) ?? []
  const port = Number(digits)
  const wellFormed = digits !== undefined && (bracketed === undefined || isIP(bracketed) === 6)
  if (!wellFormed || port > 65_535) {
    throw new RangeError('expected host:port, :port or [IPv6]:port, such as 0.0.0.0:443')
  }
  const host = bracketed ?? name
  return host === undefined || host === '' ? { port } : { host, port }
}

/** The inverse of `parseListenAddress`. */
export function formatListenAddress(address: ListenAddress): string {
  if ('path' in address) return `unix:${address.path}`
  const { host = '', port } = address
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

/** The origin of a public URL, e.g. `https://registry.example:8443`. @throws RangeError */
export function parsePublicHost(text: string): string {
  if (!/^https?:\/\//i.test(text)) {
    throw new RangeError(
      'needs a scheme, as in https://registry.example:8443 (registry:2 silently ignores a host without one)',
    )
  }
  return parseHttpOrigin(text, 'a path prefix is not supported: give scheme, host and port only')
}

/** `http(s)://host[:port]` as its origin, or `unix:///path` unchanged. @throws RangeError */
export function parseUpstreamUrl(text: string): string {
  if (/^unix:\/\/\/[^?#]+$/.test(text)) return text
  if (!/^https?:\/\//i.test(text)) {
    throw new RangeError(
      'expected http://host:port, https://host:port or unix:///path/to.sock, such as http://registry:5000',
    )
  }
  return parseHttpOrigin(text, 'a path is not supported: give scheme, host and port only')
}

function parseHttpOrigin(text: string, pathMessage: string): string {
  const url = URL.parse(text)
  if (url === null || url.port === '0')
    throw new RangeError('expected a URL such as https://host:port')
  if (url.username !== '' || url.password !== '') {
    throw new RangeError(
      'a user and password are not accepted in a URL (see upstream.authorization)',
    )
  }
  if (url.pathname !== '/' || /[?#]/.test(text)) throw new RangeError(pathMessage)
  return url.origin
}

/** A Host header value, `name` or `name:port`, lower-cased. @throws RangeError */
export function parseHostValue(text: string): string {
  const [match, bracketed, port] =
    /^(?:\[([^\]]+)\]|[a-z0-9_][a-z0-9_.-]*)(?::(\d{1,5}))?$/i.exec(text) ?? []
  const validName = match !== undefined && (bracketed === undefined || isIP(bracketed) === 6)
  const validPort = port === undefined || (Number(port) > 0 && Number(port) <= 65_535)
  if (validName && validPort) return text.toLowerCase()
  throw new RangeError(
    'expected a Host header value, name or name:port, such as registry.example:8443',
  )
}

/** An exact origin as browsers send it (RFC 6454), or `*`. @throws RangeError */
export function parseCorsOrigin(text: string): string {
  if (text === '*') return text
  if (!/^[a-z][a-z0-9+.-]*:\/\/[^\s/?#@]+$/i.test(text)) {
    throw new RangeError(
      'expected an exact origin, scheme://host[:port] without a path, such as https://ui.example',
    )
  }
  // Schemes that browsers do not know, such as those of extensions, have the origin "null" here.
  const url = URL.parse(text)
  const origin = /^https?:/i.test(text) ? url?.origin : text.toLowerCase()
  if (url === null || origin === undefined) throw new RangeError('this is not a valid origin')
  if (origin !== text) throw new RangeError(`browsers send this origin as ${origin}: write it so`)
  return text
}

/** An IP address or a CIDR range. @throws RangeError */
export function parseNetwork(text: string): string {
  if (text === 'unix') return text
  const [address = '', prefix, ...rest] = text.split('/')
  const version = address.includes('%') ? 0 : isIP(address)
  const bits = version === 6 ? 128 : 32
  const validPrefix = prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= bits)
  if (version === 0 || !validPrefix || rest.length > 0) {
    throw new RangeError('expected an IP address or a CIDR range, such as 10.0.0.0/8 or fd00::/8')
  }
  return text
}

/** A header value that can be sent. @throws RangeError */
export function parseHeaderValue(text: string): string {
  try {
    validateHeaderValue('x', text)
  } catch (cause) {
    throw new RangeError('a header value has only visible characters, spaces and tabs', { cause })
  }
  return text
}

/** The path of a token endpoint, matched literally. @throws RangeError */
export function parseTokenPath(text: string): string {
  return parsePlainPath(text, '/auth/token')
}

/** The path of the metrics, matched literally. @throws RangeError */
export function parseMetricsPath(text: string): string {
  if (['/healthz', '/readyz', '/debug/health'].includes(text)) {
    throw new RangeError('health is asked for there: choose another path, such as /metrics')
  }
  return parsePlainPath(text, '/metrics')
}

function parsePlainPath(text: string, example: string): string {
  const segments = text.split('/').slice(1)
  const plain = segments.every((segment) => /^[\w.~-]+$/.test(segment) && !/^\.+$/.test(segment))
  if (text.startsWith('/') && plain) return text
  throw new RangeError(`expected an absolute path without query or escapes, such as ${example}`)
}

/** Text for a quoted header parameter or a Basic user name: one line. @throws RangeError */
export function parseLine(text: string): string {
  if (/^[^\p{Cc}]+$/u.test(text)) return text
  throw new RangeError('expected one line of text without control characters')
}

/** A user name of Basic credentials, which ends at the first colon (RFC 7617). @throws RangeError */
export function parseUsername(text: string): string {
  if (text.includes(':')) throw new RangeError('a user name cannot contain a colon')
  return parseLine(text)
}

/** A switch. All forms that YAML 1.1, and so registry:2, reads as one. @throws RangeError */
export function parseSwitch(text: string): boolean {
  if (/^(true|yes|on|y)$/i.test(text)) return true
  if (/^(false|no|off|n)$/i.test(text)) return false
  throw new RangeError('expected true or false')
}

// Node's timers hold at most 2^31 - 1 milliseconds and fire at once when asked for more.
const LONGEST_TIMER_MS = 24 * 86_400_000

/** A timer's duration in milliseconds, which may be 0. @throws RangeError */
export function parseTimer(text: string): number {
  const ms = parseDuration(text)
  if (ms <= LONGEST_TIMER_MS) return ms
  throw new RangeError('expected at most 24d')
}

/** A time limit in milliseconds; unlike a timer it cannot be 0. @throws RangeError */
export function parseTimeLimit(text: string): number {
  const ms = parseLongTimeLimit(text)
  parseTimer(text)
  return ms
}

/** A time limit that no single timer keeps, and which may be as long as it likes. @throws RangeError */
export function parseLongTimeLimit(text: string): number {
  const ms = parseDuration(text)
  if (ms > 0) return ms
  throw new RangeError('expected a time limit longer than 0')
}

/** Whole seconds of a duration, rounded down. @throws RangeError */
export function parseSeconds(text: string): number {
  return Math.floor(parseDuration(text) / 1000)
}

const logLevels = ['error', 'warn', 'info', 'debug'] as const

/** A level of the log; `warning` is what registry:2's own writes. @throws RangeError */
export function parseLogLevel(text: string): (typeof logLevels)[number] {
  const word = text.toLowerCase().replace(/^warning$/, 'warn')
  const level = logLevels.find((candidate) => candidate === word)
  if (level !== undefined) return level
  throw new RangeError(`expected one of ${logLevels.join(', ')}`)
}

/** A limit on how many there may be. @throws RangeError */
export function parseCount(text: string): number {
  if (/^[1-9][0-9]{0,8}$/.test(text)) return Number(text)
  throw new RangeError('expected a whole number from 1 on')
}

/** How many processes serve clients; `auto` depends on the machine. @throws RangeError */
export function parseWorkers(text: string): number | 'auto' {
  if (text.toLowerCase() === 'auto') return 'auto'
  if (/^[1-9][0-9]?$/.test(text) && Number(text) <= 64) return Number(text)
  throw new RangeError('expected auto, or a whole number from 1 to 64')
}

/** A limit in bytes. @throws RangeError */
export function parseSizeLimit(text: string): number {
  const bytes = parseSize(text)
  if (bytes > 0) return bytes
  throw new RangeError('expected more than 0 bytes; leave the key out for no limit')
}

/** A part of a disk: bytes, or a percentage of the whole. */
export type DiskShare = { readonly bytes: number } | { readonly percent: number }

/** `10GiB` or `1%`. @throws RangeError */
export function parseDiskShare(text: string): DiskShare {
  const [, percent] = /^(\d{1,2}(?:\.\d+)?)%$/.exec(text) ?? []
  if (percent !== undefined) return { percent: Number(percent) }
  try {
    return { bytes: parseSize(text) }
  } catch (cause) {
    throw new RangeError('expected a size such as 10GiB, or a percentage below 100 such as 1%', {
      cause,
    })
  }
}

/** The limit of manifests in bytes: at least what OCI distribution-spec asks for. @throws RangeError */
export function parseManifestLimit(text: string): number {
  const bytes = parseSize(text)
  if (bytes >= 4 * 2 ** 20 && bytes <= 64 * 2 ** 20) return bytes
  throw new RangeError('expected 4MiB, which clients may count on, up to 64MiB')
}

import { STATUS_CODES } from 'node:http'
import { errorBody, RegistryError } from '../lib/errors.ts'

/**
 * The error for what Node's HTTP parser refused; undefined for what is not about HTTP: a peer that left,
 * a TLS handshake that failed. Anything ambiguous about where a message ends (RFC 9112 section 6.3)
 * arrives here as a parse error.
 */
export function refusalOf(
  error: NodeJS.ErrnoException & { rawPacket?: Buffer },
): RegistryError | undefined {
  if (error.code === 'HPE_HEADER_OVERFLOW') return new RegistryError('HEADERS_TOO_LARGE')
  if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT') {
    return new RegistryError('REQUEST_TIMEOUT', { reason: 'the request headers took too long' })
  }
  if (error.code?.startsWith('HPE_') !== true) return undefined
  return new RegistryError('REQUEST_INVALID', { reason: reasonOf(error) })
}

function reasonOf({ rawPacket }: { rawPacket?: Buffer }): string {
  if (rawPacket?.[0] === 0x16) return 'this port speaks plain HTTP, and the client began with TLS'
  return 'it is not a well-formed HTTP/1.1 message'
}

/** `error` as the bytes of a whole response, for a socket that has no request to answer. */
export function formatRefusal(error: RegistryError, requestId: string): string {
  const body = errorBody(error)
  return [
    `HTTP/1.1 ${error.status} ${STATUS_CODES[error.status] ?? ''}`,
    'Content-Type: application/json',
    'Docker-Distribution-Api-Version: registry/2.0',
    `X-Request-Id: ${requestId}`,
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Connection: close',
    '',
    body,
  ].join('\r\n')
}

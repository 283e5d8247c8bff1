/** A request as it goes over the wire. */
export type NonsenseRequest = {
  readonly method: string
  readonly request: Buffer
  /** Whether it is as long as it says, so that there must be an answer. */
  readonly isWhole: boolean
}

/** Fields that say how long a body is. */
export const framing = /^(?:content-length|transfer-encoding):/i

/** A request with these fields, and with a length unless they say one. */
export function requestOf(
  method: string,
  path: string,
  { headers = [], body = Buffer.alloc(0) }: { headers?: readonly string[]; body?: Buffer },
): Buffer {
  const hasLength = headers.some((line) => framing.test(line))
  const length = hasLength ? [] : [`Content-Length: ${body.length}`]
  const lines = [
    `${method} ${path} HTTP/1.1`,
    'Host: h',
    'Connection: close',
    ...length,
    ...headers,
  ]
  return Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`), body])
}

import type { IncomingMessage } from 'node:http'

/**
 * Every value of a header as it came, one for each line; `name` in lower case. `headers` of a request
 * keeps the first of several Host or Authorization lines, where a backend might keep the last; and
 * `headersDistinct` sorts all headers of the request for the sake of one.
 */
export function headerValues({ rawHeaders }: IncomingMessage, name: string): string[] {
  const values: string[] = []
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    const candidate = rawHeaders[index] ?? ''
    if (candidate.length !== name.length || candidate.toLowerCase() !== name) continue
    values.push(rawHeaders[index + 1] ?? '')
  }
  return values
}

/**
 * Every value of a header as it came, one for each line; `name` in lower case. `headers` of a request
 * keeps the first of several Host or Authorization lines, where a backend might keep the last; and
 * `headersDistinct` sorts all headers of the request for the sake of one.
 */
export function headerValues(
  { rawHeaders }: { readonly rawHeaders: readonly string[] },
  name: string,
): string[] {
  const values: string[] = []
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    if (isNamed(rawHeaders[index] ?? '', name)) values.push(rawHeaders[index + 1] ?? '')
  }
  return values
}

/** Whether `headers`, name and value in turn, have one of that name; `name` in lower case. */
export function hasHeader(headers: readonly string[], name: string): boolean {
  for (let index = 0; index < headers.length; index += 2) {
    if (isNamed(headers[index] ?? '', name)) return true
  }
  return false
}

/** Lengths differ as a rule, and comparing them costs nothing. */
function isNamed(candidate: string, name: string): boolean {
  return candidate.length === name.length && candidate.toLowerCase() === name
}

/**
 * A `Link` header to the page that follows; RFC 8288. Like registry:2's it has no scheme and host, so
 * that it is right through whatever proxy the client came.
 */
export function nextLink(
  path: string,
  parameters: readonly (readonly [string, string])[],
): string[] {
  const query = parameters.map(([name, value]) => `${name}=${encodeURIComponent(value)}`)
  return ['Link', `<${path}?${query.join('&')}>; rel="next"`]
}

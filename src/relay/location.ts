/** An absolute or scheme-relative reference: its scheme, authority, and the rest, raw. RFC 3986 4.2. */
const placed = /^(?:(https?):)?[/\\]{2}([^/?#\\]*)(.*)$/is
const otherScheme = /^[a-z][a-z0-9+.-]*:/i

export type LocationContext = {
  /** Scheme, host and port that the client used, e.g. `https://registry.example:8443`; undefined
   *  prints references without them. */
  readonly publicOrigin: string | undefined
  /** Raw target of the request, for references relative to it. */
  readonly requestTarget: string
  /** True for a place, `host:port` or a host on any port, that means the upstream or ourselves. */
  readonly isOurs: (place: string) => boolean
}

/**
 * Maps a Location to what the client can reach; RFC 9110 section 10.2.2. Path and query stay byte for
 * byte, because a registry signs them (`_state`).
 *
 * An answer that made something (201, 202, 204) can only mean the API itself, so its host is replaced
 * whatever it is: registries echo a Host without its port, their own name inside the cluster, or a
 * wrong REGISTRY_HTTP_HOST. A redirect (3xx) may lead elsewhere on purpose, to an object store, even
 * to one on another port of our own host, and is changed only if it names the upstream or us.
 */
export function rewriteLocation(value: string, status: number, context: LocationContext): string {
  const isRedirect = status >= 300 && status < 400
  const origin = context.publicOrigin ?? ''
  const match = placed.exec(value)
  if (match === null && otherScheme.test(value)) return isRedirect ? value : `${origin}/`
  const [, scheme = 'http', authority, rest = ''] = match ?? []
  const path = authority === undefined ? resolvePath(value, context.requestTarget) : rest
  if (!isRedirect) return origin + (apiPath(path) ?? rooted(path))
  if (authority === undefined) return origin + rooted(path)
  const leadsToUs =
    context.isOurs(placeOf(scheme, authority)) ||
    (/^\/v2(?:[/?#]|$)/.test(rest) && context.isOurs(hostnameOf(authority)))
  return leadsToUs ? origin + rooted(rest) : value
}

/** The part of a path from the API's base on: a wrong `http.host` may carry a path of its own. */
function apiPath(rest: string): string | undefined {
  const path = rest.replace(/[?#].*$/s, '')
  const start = path.search(/\/v2(?:\/|$)/)
  return start === -1 ? undefined : rest.slice(start)
}

/** With one slash before it, so that neither `//host` nor `/\\host` makes it another place. */
function rooted(path: string): string {
  return `/${path.replace(/^[/\\]+/, '')}`
}

/** Host and port of `authority` (`host` or `host:port`) under `scheme`, lower case. */
export function placeOf(scheme: string, authority: string): string {
  const hostname = hostnameOf(authority)
  const defaultPort = scheme.toLowerCase() === 'https' ? '443' : '80'
  return `${hostname}:${authority.slice(hostname.length + 1) || defaultPort}`
}

/** Host of `authority`, without its port, lower case. */
export function hostnameOf(authority: string): string {
  return authority.toLowerCase().replace(/:[0-9]*$/, '')
}

/** Maps every target of a Link header (RFC 8288 section 3) that is the API's; others stay. */
export function rewriteLink(value: string, context: LocationContext): string {
  const rewrite = (target: string): string => {
    const [, , authority, rest = ''] = placed.exec(target) ?? []
    const isForeign =
      authority === undefined ? otherScheme.test(target) : apiPath(rest) === undefined
    return isForeign ? target : rewriteLocation(target, 200, context)
  }
  return value.replace(/<([^<>]*)>/g, (_, target: string) => `<${rewrite(target)}>`)
}

/**
 * Maps the realm of a WWW-Authenticate challenge if it names the upstream, which clients cannot
 * reach; a token server elsewhere passes untouched. RFC 9110 section 11.6.1.
 */
export function rewriteRealm(
  value: string,
  isUpstream: (place: string) => boolean,
  publicOrigin: string,
): string {
  return value.replace(
    /(\brealm=")(https?):\/\/([^/"?#]*)/gi,
    (all, prefix: string, scheme: string, authority: string) =>
      isUpstream(placeOf(scheme, authority)) ? prefix + publicOrigin : all,
  )
}

/** RFC 3986 section 5.2 for references without a host, keeping the raw bytes of an absolute path. */
function resolvePath(reference: string, requestTarget: string): string {
  if (reference.startsWith('/')) return reference
  if (reference.startsWith('?')) return requestTarget.replace(/\?.*$/s, '') + reference
  const resolved = URL.parse(reference, `http://upstream${requestTarget}`)
  return resolved === null ? reference : resolved.pathname + resolved.search
}

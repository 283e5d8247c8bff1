import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'

export type CorsRules = {
  /** Exact origins, or `*`. */
  readonly origins: readonly string[]
  readonly credentials: boolean
  /** Seconds for which a browser may remember the answer to a preflight. */
  readonly maxage: number
}

export type Cors = {
  /** Headers for any answer to this request: name and value in turn, never two of a name. */
  headersFor(headers: IncomingHttpHeaders): readonly string[]
  /** Headers for the 204 that answers a preflight; undefined if `req` is not one that is allowed. */
  preflightHeaders(req: IncomingMessage): readonly string[] | undefined
}

const allowedMethods = 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS'
/** What registry user interfaces send that is not on the safelist of the Fetch standard. */
const allowedHeaders =
  'Authorization, Accept, Cache-Control, Content-Type, Content-Range, If-None-Match, Range'
/** What a browser must be shown beside the safelisted response headers. */
const exposedHeaders = [
  'Docker-Content-Digest',
  'Docker-Distribution-Api-Version',
  'Docker-Upload-UUID',
  'Link',
  'Location',
  'Range',
  'Content-Range',
  'Accept-Ranges',
  'ETag',
  'WWW-Authenticate',
  'Retry-After',
  'OCI-Subject',
  'OCI-Tag',
  'OCI-Filters-Applied',
  'Warning',
  'X-Request-Id',
].join(', ')

/** Decides what other origins' scripts may do; Fetch standard, "CORS protocol". */
export function createCors(rules: CorsRules | undefined): Cors {
  if (rules === undefined) return { headersFor: () => [], preflightHeaders: () => undefined }
  const anyOrigin = rules.origins.includes('*')
  const origins = new Set(rules.origins)
  const isAllowed = (origin: string | undefined): origin is string =>
    origin !== undefined && (anyOrigin || origins.has(origin))
  const vary = anyOrigin ? [] : ['Vary', 'Origin']
  const grant = (origin: string): string[] => [
    'Access-Control-Allow-Origin',
    anyOrigin ? '*' : origin,
    ...(rules.credentials ? ['Access-Control-Allow-Credentials', 'true'] : []),
  ]

  return {
    headersFor({ origin }) {
      if (!isAllowed(origin)) return vary
      return [...grant(origin), 'Access-Control-Expose-Headers', exposedHeaders, ...vary]
    },
    preflightHeaders({ method, headers }) {
      const { origin } = headers
      const wantedMethod = headers['access-control-request-method']
      if (method !== 'OPTIONS' || wantedMethod === undefined || !isAllowed(origin)) return undefined
      return [
        ...grant(origin),
        ...['Access-Control-Allow-Methods', allowedMethods],
        ...['Access-Control-Allow-Headers', allowedHeaders],
        ...['Access-Control-Max-Age', String(rules.maxage)],
        ...vary,
      ]
    },
  }
}

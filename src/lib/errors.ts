/**
 * Every error a client may see. The code is the decision; status and message are its row here.
 * Codes of the OCI distribution specification keep the messages that clients are used to printing;
 * the last block is ours, for what a front meets and the specification does not name.
 */
const errors = {
  UNAUTHORIZED: { status: 401, message: 'authentication required' },
  DENIED: { status: 403, message: 'requested access to the resource is denied' },
  UNSUPPORTED: { status: 405, message: 'The operation is unsupported.' },
  TOOMANYREQUESTS: { status: 429, message: 'too many requests' },
  UNAVAILABLE: { status: 503, message: 'service unavailable' },
  UNKNOWN: { status: 500, message: 'unknown error' },
  NAME_INVALID: { status: 400, message: 'invalid repository name' },
  TAG_INVALID: { status: 400, message: 'manifest tag did not match the grammar of tags' },
  DIGEST_INVALID: { status: 400, message: 'invalid digest' },

  REQUEST_INVALID: { status: 400, message: 'the request cannot be understood' },
  NOT_FOUND: { status: 404, message: 'there is nothing at this path' },
  REQUEST_TIMEOUT: { status: 408, message: 'the client stood still for too long' },
  REQUEST_TOO_LARGE: {
    status: 413,
    message: 'the request body is larger than this server accepts',
  },
  MISDIRECTED_REQUEST: { status: 421, message: 'this server does not answer for that host' },
  HEADERS_TOO_LARGE: { status: 431, message: 'the request headers are too large' },
  UPSTREAM_UNREACHABLE: {
    status: 502,
    message: 'the registry behind this server cannot be reached',
  },
  UPSTREAM_INVALID: {
    status: 502,
    message: 'the registry behind this server gave an invalid answer',
  },
  UPSTREAM_TIMEOUT: {
    status: 504,
    message: 'the registry behind this server took too long to answer',
  },
} as const satisfies Record<string, { status: number; message: string }>

export type ErrorCode = keyof typeof errors

type RegistryErrorOptions = ErrorOptions & {
  /** Response headers that belong to this error, e.g. `www-authenticate`, `retry-after`, `allow`. */
  headers?: Readonly<Record<string, string>>
}

/**
 * An error with a public face: `code` picks status and message, `detail` is public JSON,
 * `cause` is for the log only.
 */
export class RegistryError extends Error {
  override readonly name = 'RegistryError'
  readonly code: ErrorCode
  readonly status: number
  readonly detail: unknown
  readonly headers: Readonly<Record<string, string>>

  constructor(
    code: ErrorCode,
    detail?: unknown,
    { headers = {}, ...options }: RegistryErrorOptions = {},
  ) {
    super(errors[code].message, options)
    this.code = code
    this.status = errors[code].status
    this.detail = detail
    this.headers = headers
  }
}

/** The error body of the OCI distribution specification, "Error Codes": one error, as JSON text. */
export function errorBody({ code, message, detail }: RegistryError): string {
  return JSON.stringify({ errors: [{ code, message, ...(detail !== undefined && { detail }) }] })
}

/**
 * Every error a client may see. The code is the decision; status and message are its row here.
 * Codes of the OCI distribution specification keep the messages that clients are used to printing;
 * the last blocks are ours, for what the specification does not name. `publicCode` is what clients
 * read where several of our decisions share one code of the specification.
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
  SIZE_INVALID: { status: 400, message: 'provided length did not match content length' },
  RANGE_INVALID: { status: 416, message: 'invalid content range' },
  NAME_UNKNOWN: { status: 404, message: 'repository name not known to registry' },
  BLOB_UNKNOWN: { status: 404, message: 'blob unknown to registry' },
  BLOB_UPLOAD_UNKNOWN: { status: 404, message: 'blob upload unknown to registry' },
  BLOB_UPLOAD_INVALID: { status: 400, message: 'blob upload invalid' },
  MANIFEST_UNKNOWN: { status: 404, message: 'manifest unknown' },
  MANIFEST_INVALID: { status: 400, message: 'manifest invalid' },
  MANIFEST_BLOB_UNKNOWN: {
    status: 400,
    message: 'manifest references content that is unknown to registry',
  },
  PAGINATION_NUMBER_INVALID: { status: 400, message: 'invalid number of results requested' },

  DIGEST_MISMATCH: {
    status: 400,
    publicCode: 'DIGEST_INVALID',
    message: 'provided digest did not match uploaded content',
  },
  MANIFEST_TOO_LARGE: {
    status: 413,
    publicCode: 'SIZE_INVALID',
    message: 'the manifest is larger than this registry accepts',
  },
  TOO_MANY_TAGS: { status: 414, message: 'one push cannot set that many tags' },
  PRECONDITION_FAILED: {
    status: 412,
    message: 'what is there is not what the request makes its condition',
  },
  DELETE_DISABLED: {
    status: 405,
    publicCode: 'UNSUPPORTED',
    message: 'deleting is disabled on this registry',
  },
  READ_ONLY: {
    status: 405,
    publicCode: 'UNSUPPORTED',
    message: 'the registry is read-only at the moment',
  },
  STORAGE_FULL: { status: 507, message: 'the storage of the registry is full' },

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
} as const satisfies Record<string, { status: number; message: string; publicCode?: string }>

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
export function errorBody({ code: row, message, detail }: RegistryError): string {
  const { publicCode: code = row } = errors[row] as { publicCode?: string }
  return JSON.stringify({ errors: [{ code, message, ...(detail !== undefined && { detail }) }] })
}

import test from 'ava'
import { type ErrorCode, errorBody, RegistryError } from '../../../src/lib/errors.ts'

const statuses: Readonly<Record<ErrorCode, number>> = {
  UNAUTHORIZED: 401,
  DENIED: 403,
  UNSUPPORTED: 405,
  TOOMANYREQUESTS: 429,
  UNAVAILABLE: 503,
  UNKNOWN: 500,
  NAME_INVALID: 400,
  TAG_INVALID: 400,
  DIGEST_INVALID: 400,
  SIZE_INVALID: 400,
  RANGE_INVALID: 416,
  NAME_UNKNOWN: 404,
  BLOB_UNKNOWN: 404,
  BLOB_UPLOAD_UNKNOWN: 404,
  BLOB_UPLOAD_INVALID: 400,
  MANIFEST_UNKNOWN: 404,
  MANIFEST_INVALID: 400,
  MANIFEST_BLOB_UNKNOWN: 400,
  PAGINATION_NUMBER_INVALID: 400,
  DIGEST_MISMATCH: 400,
  MANIFEST_TOO_LARGE: 413,
  PRECONDITION_FAILED: 412,
  DELETE_DISABLED: 405,
  READ_ONLY: 405,
  STORAGE_FULL: 507,
  TOO_MANY_TAGS: 414,
  REQUEST_INVALID: 400,
  NOT_FOUND: 404,
  REQUEST_TIMEOUT: 408,
  REQUEST_TOO_LARGE: 413,
  MISDIRECTED_REQUEST: 421,
  HEADERS_TOO_LARGE: 431,
  UPSTREAM_UNREACHABLE: 502,
  UPSTREAM_INVALID: 502,
  UPSTREAM_TIMEOUT: 504,
}

test('errors: every code has its status, and a message to print', (t) => {
  for (const code of Object.keys(statuses) as ErrorCode[]) {
    const error = new RegistryError(code)
    t.is(error.status, statuses[code], code)
    t.true(error.message.length > 5)
    t.deepEqual(error.headers, {})
  }
})

test('errors: messages of the specification are those that clients are used to', (t) => {
  t.is(new RegistryError('UNAUTHORIZED').message, 'authentication required')
  t.is(new RegistryError('DENIED').message, 'requested access to the resource is denied')
  t.is(new RegistryError('UNSUPPORTED').message, 'The operation is unsupported.')
})

test('errors: the body is one error, with its detail if there is one, and never its cause', (t) => {
  const error = new RegistryError('DIGEST_INVALID', { digest: 'x' }, { cause: new Error('inside') })
  t.deepEqual(JSON.parse(errorBody(error)), {
    errors: [{ code: 'DIGEST_INVALID', message: 'invalid digest', detail: { digest: 'x' } }],
  })
  t.deepEqual(JSON.parse(errorBody(new RegistryError('DENIED'))).errors[0], {
    code: 'DENIED',
    message: 'requested access to the resource is denied',
  })
  t.regex(String(error.cause), /inside/)
})

test('errors: several decisions can share one code of the specification', (t) => {
  const codeOf = (code: ErrorCode) => JSON.parse(errorBody(new RegistryError(code))).errors[0].code
  t.is(codeOf('READ_ONLY'), 'UNSUPPORTED')
  t.is(codeOf('DELETE_DISABLED'), 'UNSUPPORTED')
  t.is(codeOf('DIGEST_MISMATCH'), 'DIGEST_INVALID')
  t.is(codeOf('MANIFEST_TOO_LARGE'), 'SIZE_INVALID')
})

test('errors: headers belong to an error, beside its cause', (t) => {
  const error = new RegistryError('UNSUPPORTED', undefined, { headers: { Allow: 'GET' } })
  t.deepEqual(error.headers, { Allow: 'GET' })
  t.is(error.cause, undefined)
  t.is(error.name, 'RegistryError')
})

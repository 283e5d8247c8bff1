import { type ErrorCode, RegistryError } from '../../lib/errors.ts'
import { methodsOf, type Route } from '../route.ts'

/** Methods that begin something new, of routes that a store which may not change answers with 405. */
const writing = new Set(['POST', 'PUT', 'DELETE'])

/** Methods that the state of the registry takes from a route, by the code that says so. */
const refused: Partial<Record<ErrorCode, ReadonlySet<string>>> = {
  READ_ONLY: writing,
  DELETE_DISABLED: new Set(['DELETE']),
}

/** A 405 with the `Allow` of what is left; RFC 9110 section 15.5.6. Any other error as it is. */
export function withAllow(error: unknown, route: Route): unknown {
  const methods = error instanceof RegistryError ? refused[error.code] : undefined
  if (!(error instanceof RegistryError) || methods === undefined) return error
  const left = methodsOf(route).filter((method) => !methods.has(method))
  const headers = { ...error.headers, Allow: [...left, 'OPTIONS'].join(', ') }
  return new RegistryError(error.code, error.detail, { cause: error.cause, headers })
}

import { RegistryError } from '../../lib/errors.ts'

/** The parameters of a request target. */
export type Query = {
  /** The one value of a parameter; undefined if it is not there. @throws REQUEST_INVALID for several that differ */
  one(name: string): string | undefined
  /** All values of a parameter that may be repeated, each once, in order. */
  all(name: string): readonly string[]
}

/**
 * Reads the query of a raw request target. Whoever stands between us and the client may take the first
 * or the last of two values, so two that differ are refused where one is meant.
 */
export function parseQuery(target: string): Query {
  const start = target.indexOf('?')
  if (start === -1) return emptyQuery
  const parameters = new URLSearchParams(target.slice(start + 1))
  const all = (name: string): string[] => [...new Set(parameters.getAll(name))]
  return {
    one(name) {
      const [value, another] = all(name)
      if (another !== undefined) {
        const reason = `the parameter ${name} is given several times, with different values`
        throw new RegistryError('REQUEST_INVALID', { reason })
      }
      return value
    },
    all,
  }
}

const emptyQuery: Query = { one: () => undefined, all: () => [] }

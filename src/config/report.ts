import { implementedPaths, keyTree, knownPaths } from './keys.ts'
import { nearestPath } from './nearest.ts'

/** What is found wrong with a configuration: everything is collected, then reported at once. */
export type Report = {
  problem(line: string): void
  warning(line: string): void
  readonly problems: readonly string[]
  readonly warnings: readonly string[]
}

export function createReport(): Report {
  const problems = new Set<string>()
  const warnings = new Set<string>()
  return {
    problem: (line) => void problems.add(line),
    warning: (line) => void warnings.add(line),
    get problems() {
      return [...problems]
    },
    get warnings() {
      return [...warnings]
    },
  }
}

/** `origin: path: message`, without the parts that are empty. */
export function problemLine(origin: string, path: string, message: string): string {
  return [origin, path, message].filter((part) => part !== '').join(': ')
}

/** ` (value "…")` for a message; for keys that may hold a secret nothing. */
export function showValue(path: string, text: string): string {
  if (text === '' || mayBeSecret(path)) return ''
  // Whatever stands before an @ may be the password of a URL; whatever follows a ? may be a token.
  const masked = text.replace(/^(\w+:\/\/)?.*@/s, '$1***@').replace(/\?.*$/s, '?***')
  const short = masked.length > 80 ? `${masked.slice(0, 80)}…` : masked
  return ` (value ${JSON.stringify(short)})`
}

/** `; did you mean …?`, or what is known there instead. */
export function suggestion(path: string): string {
  const nearest = nearestPath(path, knownPaths, implementedPaths)
  if (nearest !== undefined) return `; did you mean ${nearest}?`
  const parent = path.split('.').slice(0, -1)
  let node = keyTree
  for (const key of parent) node = node.children.get(key) ?? node
  const known = [...node.children.keys()]
  return known.length === 0 ? '' : `; known here: ${known.join(', ')}`
}

const publicKeys = new Set(['http.tls.key', 'upstream.tls.key', 'upstream.authorization'])

function mayBeSecret(itemPath: string): boolean {
  const path = itemPath.replace(/(\.\d+)+$/, '')
  if (publicKeys.has(path) || knownPaths.includes(path))
    return /secret|password$|apikey|licensekey/.test(path)
  // A mistyped key: what it was meant to be decides as well.
  const meant = `${path} ${nearestPath(path, knownPaths) ?? ''}`
  return /secr|pass|pw|token|key|cred|auth|priv/i.test(meant)
}

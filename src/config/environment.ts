import { DocumentError, parseDocument, type Tree, type TreeMap, textScalar } from './document.ts'
import { type Address, expandChoices, setAt } from './edit.ts'
import { implementedPaths, type KeyNode, keyTree, knownPaths } from './keys.ts'
import { nearestPath } from './nearest.ts'
import { problemLine, type Report } from './report.ts'

const PREFIX = 'REGISTRY_'

/** Unknown names that containers get unasked. */
const foreign: readonly RegExp[] = [
  /^REGISTRY_CONFIGURATION_PATH$/,
  // Docker links to a container named `registry`, and Kubernetes services whose name begins so.
  /^REGISTRY_(\d+_)?(NAME|ENV_.*)$/,
  /^REGISTRY_(.*_)?SERVICE_(HOST|PORT(_.*)?)$/,
  /^REGISTRY_(.*_)?PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR|START|END))*)?$/,
]

/**
 * Applies the `REGISTRY_*` variables to `root` by registry:2's rules: every part of a name is a key
 * in upper case (or the name of registry:2's Go field), values are YAML of the key's type, and a
 * section is replaced before its keys are set. Unlike there an unknown name is a problem.
 */
export function applyEnvironment(root: TreeMap, env: NodeJS.ProcessEnv, report: Report): void {
  for (const [name, value] of sortedVariables(env)) {
    const target = resolve(name.slice(PREFIX.length).split('_'), keyTree, [])
    if (target === undefined) {
      const isForeign = foreign.some((pattern) => pattern.test(name))
      if (!isForeign) report.problem(problemLine(name, '', describeUnknown(name)))
      continue
    }
    try {
      setAt(root, target.address, decode(value, name, target.node))
      expandChoices(root)
    } catch (error) {
      if (!(error instanceof RangeError || error instanceof DocumentError)) throw error
      report.problem(problemLine(name, '', error.message))
    }
  }
}

/** The variable that sets an implemented key. */
export function variableName({ path }: KeyNode): string {
  return PREFIX + path.map((key) => key.toUpperCase()).join('_')
}

/** A section before its keys, and index 2 before index 10. */
function sortedVariables(env: NodeJS.ProcessEnv): [name: string, value: string][] {
  return (
    Object.entries(env)
      .flatMap(([name, value]): [string, string][] => (value === undefined ? [] : [[name, value]]))
      // registry:2 reads REGISTRY_VERSION to no effect, and many set it to the version of an image.
      .filter(([name]) => name.startsWith(PREFIX) && name !== 'REGISTRY_VERSION')
      .sort(([a], [b]) => compareNames(a, b))
  )
}

function compareNames(a: string, b: string): number {
  const left = a.split('_')
  const right = b.split('_')
  for (let index = 0; index < Math.min(left.length, right.length); index += 1) {
    const [x = '', y = ''] = [left[index], right[index]]
    if (x === y) continue
    if (isIndex(x) && isIndex(y)) return Number(x) - Number(y)
    return x < y ? -1 : 1
  }
  return left.length - right.length
}

type Target = { readonly node: KeyNode; readonly address: Address }

function resolve(parts: readonly string[], node: KeyNode, address: Address): Target | undefined {
  const [part, ...rest] = parts
  if (part === undefined) return { node, address }
  if (part === '') return undefined
  if (node.free) return { node, address: [...address, parts.join('_').toLowerCase()] }
  for (const [key, child] of node.children) {
    if (part === key.toUpperCase() || part === child.goName) {
      return resolve(rest, child, [...address, key])
    }
  }
  if (node.item === undefined) return undefined
  if (node.accepts.includes('list')) {
    return isIndex(part) ? resolve(rest, node.item, [...address, Number(part)]) : undefined
  }
  // A free name such as a header's keeps its case; a map of anything takes the whole rest as one name.
  if (node.item.free) return resolve(parts, node.item, address)
  return resolve(rest, node.item, [...address, part])
}

/** No list of the configuration is long; a larger number is not an index. */
function isIndex(part: string): boolean {
  return /^\d{1,4}$/.test(part)
}

/** The value of a variable for the key it sets. Scalars stay text: their key decides what it means. */
function decode(value: string, name: string, { accepts, free }: KeyNode): Tree {
  if (/^\s*(~|null)?\s*$/i.test(value)) return textScalar('', name)
  const parsed = tryParse(value, name)
  if (parsed !== undefined && accepts.includes(parsed.kind)) return parsed
  const isBroken =
    !free &&
    ((accepts.includes('list') && /^\s*\[.*\]\s*$/s.test(value)) ||
      (accepts.includes('map') && /^\s*\{/.test(value)))
  // What YAML cannot read, or reads as something else, is meant literally: `*`, `#x`, `[::1]:443`.
  if (accepts.includes('scalar') && !isBroken) return textScalar(value, name)
  throw new RangeError(`expected ${describeKinds(accepts)}, in YAML`)
}

function tryParse(value: string, name: string): Tree | undefined {
  try {
    return parseDocument(value, () => name)
  } catch (error) {
    if (error instanceof DocumentError) return undefined
    throw error
  }
}

function describeKinds(accepts: readonly string[]): string {
  const words = []
  if (accepts.includes('scalar')) words.push('a word')
  if (accepts.includes('list')) words.push('a list such as [a, b]')
  if (accepts.includes('map')) words.push('a map such as {key: value}')
  return words.join(' or ')
}

function describeUnknown(name: string): string {
  if (name.startsWith('REGISTRY_HTTP_HEADERS_')) {
    return 'a header name with "_" cannot be part of a variable: use REGISTRY_HTTP_HEADERS=\'{Name: [value]}\''
  }
  const path = name.slice(PREFIX.length).toLowerCase().replaceAll('_', '.')
  const nearest = nearestPath(path, knownPaths, implementedPaths)
  const meant =
    nearest === undefined
      ? ''
      : `; did you mean ${PREFIX}${nearest.toUpperCase().replaceAll('.', '_')}?`
  return `unknown variable${meant}`
}

import type { Tree, TreeMap } from './document.ts'
import { childOf, type KeyNode, keyTree } from './keys.ts'
import { problemLine, type Report, showValue, suggestion } from './report.ts'
import type { Unimplemented } from './unimplemented.ts'

/** Sections that must not be empty in silence, because nothing would protect the registry. */
const emptySections: ReadonlyMap<string, { severity: 'problem' | 'warning'; message: string }> =
  new Map([
    [
      'auth',
      {
        severity: 'problem',
        message:
          'empty, which would let anyone in: configure htpasswd, or write `auth: none` to say so',
      },
    ],
    [
      'http.tls',
      { severity: 'warning', message: 'empty: plain HTTP is served, passwords in the clear' },
    ],
  ])

/**
 * `root` as plain values for the schema: scalars as text, empty keys and sections left out. Keys
 * that nobody knows are problems, keys of registry:2 that are not implemented are warnings or
 * problems; both are left out as well, so that the schema sees only its own keys.
 */
export function reviewTree(root: TreeMap, report: Report): Record<string, unknown> {
  return reviewMap(root, keyTree, [], { report, isProxy: root.entries.has('upstream') })
}

type Review = {
  readonly report: Report
  /** All of `storage` does nothing then, which one rule says for the whole. */
  readonly isProxy: boolean
}

function reviewMap(map: TreeMap, node: KeyNode, path: readonly string[], review: Review) {
  const plain: Record<string, unknown> = Object.create(null)
  for (const [key, tree] of map.entries) {
    const value = reviewKey(tree, node, [...path, key], review)
    if (value !== undefined) plain[key] = value
  }
  return plain
}

function reviewKey(tree: Tree, parent: KeyNode, path: readonly string[], review: Review): unknown {
  const { report } = review
  const name = path.join('.')
  const node = childOf(parent, path.at(-1) ?? '')
  if (node === undefined) {
    const shown = tree.kind === 'scalar' ? showValue(name, tree.text) : ''
    report.problem(problemLine(tree.origin, name, `unknown key${shown}${suggestion(name)}`))
    return undefined
  }
  if (node.unimplemented !== undefined) {
    reviewUnimplemented(tree, { ...node, unimplemented: node.unimplemented }, path, review)
    return undefined
  }
  const value = reviewNode(tree, node, path, review)
  const rule = value === undefined && isEmpty(tree, path) ? emptySections.get(name) : undefined
  if (rule !== undefined) report[rule.severity](problemLine(tree.origin, name, rule.message))
  return value
}

type UnimplementedNode = KeyNode & { readonly unimplemented: Unimplemented }

function reviewUnimplemented(
  tree: Tree,
  node: UnimplementedNode,
  path: readonly string[],
  review: Review,
): void {
  const { report, isProxy } = review
  const { effect, severity, remedy, none } = node.unimplemented
  const isIdle = isProxy && path[0] === 'storage'
  const line = (message: string): string => problemLine(tree.origin, path.join('.'), message)
  // One line says it for all that is below.
  if (severity === 'error' && !isIdle) {
    report.problem(line(effect))
    return
  }
  const value = reviewNode(tree, node, path, review)
  if (value === undefined || value === none || isIdle) return
  if (severity === 'error without upstream' && !isProxy)
    report.problem(line(remedy === undefined ? effect : `${effect}: ${remedy}`))
  else report.warning(line(`no effect: ${effect}`))
}

function reviewNode(tree: Tree, node: KeyNode, path: readonly string[], review: Review): unknown {
  if (node.free && node.doc !== undefined) return yamlValue(tree)
  if (tree.kind === 'list') {
    const item = node.item
    return tree.items.map((child, index) =>
      item === undefined ? '' : (reviewNode(child, item, [...path, String(index)], review) ?? ''),
    )
  }
  if (tree.kind === 'map' && node.accepts.includes('map')) {
    const plain = reviewMap(tree, node, path, review)
    return Object.keys(plain).length > 0 || isChosen(path) ? plain : undefined
  }
  if (tree.kind === 'map') return {}
  // A method of `auth` is chosen by its name alone.
  if (tree.text === '') return isChosen(path) ? {} : undefined
  return tree.text
}

function isChosen(path: readonly string[]): boolean {
  return path.length === 2 && path[0] === 'auth'
}

function isEmpty(tree: Tree, path: readonly string[]): boolean {
  if (tree.kind === 'list' || isChosen(path)) return false
  if (tree.kind === 'scalar') return tree.text === ''
  return [...tree.entries].every(([key, child]) => isEmpty(child, [...path, key]))
}

/** A tree as YAML 1.2 reads it, for keys that take anything. */
function yamlValue(tree: Tree): unknown {
  if (tree.kind === 'scalar') return tree.value
  if (tree.kind === 'list') return tree.items.map(yamlValue)
  return Object.fromEntries([...tree.entries].map(([key, child]) => [key, yamlValue(child)]))
}

import { emptyMap, type Tree, type TreeMap, textScalar } from './document.ts'
import { splitItems } from './fields.ts'

/** Where a value goes: a string is a key, a number an index of a list. */
export type Address = readonly (string | number)[]

/**
 * Puts `value` at `address` in `root`, making what is missing on the way and replacing what cannot
 * hold it (a scalar where a section is needed). An existing key is matched in any case.
 * @throws RangeError if an index would leave a gap in a list
 */
export function setAt(root: TreeMap, address: Address, value: Tree): void {
  const [first, ...rest] = address
  if (typeof first !== 'string') throw new TypeError('an address begins with a key')
  setInMap(root, first, rest, value)
}

/** The node at `address`, or undefined. */
export function getAt(root: Tree, address: readonly PropertyKey[]): Tree | undefined {
  let node: Tree | undefined = root
  for (const step of address) {
    if (node?.kind === 'map') node = node.entries.get(String(step))
    else node = node?.kind === 'list' ? node.items[Number(step)] : undefined
  }
  return node
}

/** registry:2's short form: `auth: none` and `storage: inmemory` stand for `{none: {}}` and so on. */
export function expandChoices(root: TreeMap): void {
  for (const key of ['auth', 'storage']) {
    const node = root.entries.get(key)
    if (node?.kind !== 'scalar' || node.text === '') continue
    const { origin, text } = node
    root.entries.set(key, { kind: 'map', origin, entries: new Map([[text, emptyMap(origin)]]) })
  }
}

function setInMap(map: TreeMap, key: string, rest: Address, value: Tree): void {
  const isSame = (name: string): boolean => name.toLowerCase() === key.toLowerCase()
  const name = map.entries.has(key) ? key : ([...map.entries.keys()].find(isSame) ?? key)
  map.entries.set(name, updated(map.entries.get(name), rest, value))
}

function setInList(items: Tree[], index: number, rest: Address, value: Tree): void {
  if (index > items.length) {
    throw new RangeError(
      `index ${index} leaves a gap: the list has ${items.length} ${items.length === 1 ? 'item' : 'items'}`,
    )
  }
  items[index] = updated(items[index], rest, value)
}

function updated(old: Tree | undefined, rest: Address, value: Tree): Tree {
  const [next, ...further] = rest
  if (next === undefined) return value
  if (typeof next === 'string') {
    const map = old?.kind === 'map' ? old : emptyMap(value.origin)
    setInMap(map, next, further, value)
    return map
  }
  const items = itemsOf(old)
  setInList(items, next, further, value)
  return { kind: 'list', origin: old?.origin ?? value.origin, items }
}

function itemsOf(node: Tree | undefined): Tree[] {
  if (node?.kind === 'list') return node.items
  if (node?.kind !== 'scalar') return []
  return splitItems(node.text).map((item) => textScalar(item, node.origin))
}

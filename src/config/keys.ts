import * as z from 'zod'
import { configSchema } from './schema.ts'
import { goFieldNames, type Unimplemented, unimplemented } from './unimplemented.ts'

export type Kind = 'scalar' | 'list' | 'map'

/** What is known about one key; the root and the items of lists and maps are nodes as well. */
export type KeyNode = {
  /** From the root; `[]` stands for the items of a list or map. */
  readonly path: readonly string[]
  readonly accepts: readonly Kind[]
  readonly children: ReadonlyMap<string, KeyNode>
  /** Items of a list, or values of a map whose keys are free. */
  readonly item?: KeyNode
  /** Nothing is known below: take the value as YAML reads it. */
  readonly free?: true
  /** This key's part of a variable name, if it is not the key in upper case. */
  readonly goName?: string
  readonly unimplemented?: Unimplemented
  /** Present for implemented keys. */
  readonly doc?: KeyDoc
}

export type KeyDoc = {
  readonly description: string
  readonly type: string
  /** As it would be written in YAML. */
  readonly default?: string
  readonly example?: string
  readonly optional: boolean
}

/** Every key of registry:2 and ours, as a tree from the top level of the file. */
export const keyTree: KeyNode = createKeyTree()

/** Every known key as a dotted path, without the items of lists: what a mistyped key is compared with. */
export const knownPaths: readonly string[] = listPaths(keyTree)

/** Those of the known paths that do something. */
export const implementedPaths: readonly string[] = listImplemented()
  .filter(({ path }) => !path.includes('[]'))
  .map(({ path }) => path.join('.'))

/** The node of `key` in a map at `node`, or undefined if nobody knows that key. */
export function childOf(node: KeyNode, key: string): KeyNode | undefined {
  if (node.free) return node
  return node.children.get(key) ?? (node.accepts.includes('map') ? node.item : undefined)
}

/** All implemented keys in the order of the schema, sections before their keys. */
export function listImplemented(node: KeyNode = keyTree): readonly KeyNode[] {
  const below = [...node.children.values()].flatMap(listImplemented)
  return node.doc !== undefined && node.path.length > 0 ? [node, ...below] : below
}

type Mutable = Omit<KeyNode, 'children' | 'accepts' | 'item' | 'unimplemented'> & {
  accepts: Kind[]
  children: Map<string, Mutable>
  item?: Mutable
  unimplemented?: Unimplemented
}

function createKeyTree(): KeyNode {
  const root = nodeOf(configSchema, [])
  for (const entry of unimplemented) {
    const node = addPath(root, entry.key.split('.'))
    node.unimplemented = entry
    for (const path of entry.below) {
      addPath(
        node,
        path
          .replaceAll('[]', '.[]')
          .split('.')
          .filter((part) => part !== ''),
      )
    }
    markLeaves(node)
  }
  // registry:2 lets a scalar stand for a section that holds one driver: `auth: none`.
  for (const choice of ['auth', 'storage']) root.children.get(choice)?.accepts.push('scalar')
  return root
}

/** Follows `segments` down from `node`, making what is missing; `*` makes everything below free. */
function addPath(node: Mutable, segments: readonly string[]): Mutable {
  const [segment, ...rest] = segments
  if (segment === undefined) return node
  const path = [...node.path, segment]
  if (segment === '*') return Object.assign(node, freeNode(node.path))
  const goName = goFieldNames.get(path.join('.'))
  const create = (): Mutable => ({
    path,
    accepts: [],
    children: new Map(),
    ...(goName !== undefined && { goName }),
  })
  if (segment === '[]') {
    node.accepts = ['list']
    node.item ??= create()
    return addPath(node.item, rest)
  }
  if (node.accepts.length === 0) node.accepts = ['map']
  const child = node.children.get(segment) ?? create()
  node.children.set(segment, child)
  return addPath(child, rest)
}

/** Unimplemented keys with nothing known below take anything. */
function markLeaves(node: Mutable): void {
  if (node.item !== undefined) markLeaves(node.item)
  else if (node.children.size === 0) Object.assign(node, freeNode(node.path))
  for (const child of node.children.values()) markLeaves(child)
}

function freeNode(path: readonly string[]): Mutable {
  return { path, accepts: ['scalar', 'list', 'map'], children: new Map(), free: true }
}

type Facts = { description?: string; type?: string; example?: string; optional: boolean } & {
  default?: unknown
}

/** The node of a schema: facts are gathered from its wrappers (optional, default, pipe), outermost first. */
function nodeOf(wrapped: z.core.$ZodType, path: readonly string[]): Mutable {
  const facts: Facts = { optional: false }
  const schema = unwrap(wrapped, facts)
  const node = { path, children: new Map<string, Mutable>(), doc: docOf(facts) }
  if (schema instanceof z.ZodObject) {
    return { ...node, accepts: ['map'], children: childrenOf(schema, path) }
  }
  if (schema instanceof z.ZodUnion) {
    const options = schema.options.map((option) => nodeOf(option, path))
    return {
      ...node,
      accepts: options.flatMap(({ accepts }) => accepts),
      children: new Map(options.flatMap(({ children }) => [...children])),
    }
  }
  if (schema instanceof z.ZodRecord) {
    return { ...node, accepts: ['map'], item: nodeOf(schema.valueType, [...path, '[]']) }
  }
  if (schema instanceof z.ZodArray) {
    const item = nodeOf(schema.element, [...path, '[]'])
    const doc = { ...node.doc, type: `list of ${item.doc?.type}` }
    return { ...node, doc, accepts: ['list', 'scalar'], item }
  }
  if (schema instanceof z.ZodUnknown) return { ...freeNode(path), doc: node.doc }
  return { ...node, accepts: ['scalar'] }
}

function childrenOf(schema: z.ZodObject, path: readonly string[]): Map<string, Mutable> {
  return new Map(
    Object.entries(schema.shape).map(([key, child]) => [key, nodeOf(child, [...path, key])]),
  )
}

function unwrap(schema: z.core.$ZodType, facts: Facts): z.core.$ZodType {
  const meta = z.globalRegistry.get(schema) ?? {}
  if (typeof meta.description === 'string') facts.description ??= meta.description
  if (typeof meta['type'] === 'string') facts.type ??= meta['type']
  if (typeof meta['example'] === 'string') facts.example ??= meta['example']
  if (schema instanceof z.ZodPrefault) {
    facts.default ??= schema.def.defaultValue
    return unwrap(schema.unwrap(), facts)
  }
  if (schema instanceof z.ZodExactOptional) {
    facts.optional = true
    return unwrap(schema.unwrap(), facts)
  }
  if (schema instanceof z.ZodPipe) {
    return unwrap(schema.in instanceof z.ZodTransform ? schema.out : schema.in, facts)
  }
  if (schema instanceof z.ZodRecord) facts.type ??= 'map'
  if (schema instanceof z.ZodObject) facts.type ??= 'section'
  return schema
}

function docOf({
  description = '',
  type = 'text',
  default: value,
  example,
  optional,
}: Facts): KeyDoc {
  const isSection = type === 'section'
  return {
    description,
    type,
    optional,
    ...(value !== undefined && !isSection && { default: formatDefault(value) }),
    ...(example !== undefined && { example }),
  }
}

function formatDefault(value: unknown): string {
  if (Array.isArray(value)) return `[${value.join(', ')}]`
  return typeof value === 'string' ? value : '{}'
}

function listPaths(node: KeyNode): string[] {
  const own = node.path.length === 0 || node.path.includes('[]') ? [] : [node.path.join('.')]
  const below = node.free ? [] : [...node.children.values()].flatMap(listPaths)
  return [...own, ...below]
}

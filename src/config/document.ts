import * as yaml from 'yaml'

/**
 * A configuration before it has a type: maps, lists and the text of scalars, each with where it was
 * written (`conf/config.yml:12:5`, or the name of a variable). Scalars keep their text because only
 * the key they belong to knows whether `012` is a number; `value` is what YAML 1.2 makes of it.
 * A scalar with empty text is a key that was left empty: as in registry:2 the same as no key.
 */
export type Tree = { readonly origin: string } & (
  | { readonly kind: 'scalar'; readonly text: string; readonly value: unknown }
  | { readonly kind: 'map'; readonly entries: Map<string, Tree> }
  | { readonly kind: 'list'; readonly items: Tree[] }
)
export type TreeMap = Extract<Tree, { kind: 'map' }>

/** A problem of the text itself, as one line that starts with its position. */
export class DocumentError extends Error {
  override readonly name = 'DocumentError'
}

export function emptyMap(origin: string): TreeMap {
  return { kind: 'map', origin, entries: new Map() }
}

export function textScalar(text: string, origin: string): Tree {
  return { kind: 'scalar', origin, text, value: text }
}

// Aliases make a small text a large tree. No honest configuration comes near these.
const MAX_NODES = 20_000
const MAX_DEPTH = 50

/**
 * The one YAML document in `text` as a tree, or undefined if it holds nothing. `locate` turns a
 * position (both counted from 1) into an origin.
 * @throws DocumentError
 */
export function parseDocument(
  text: string,
  locate: (line: number, column: number) => string,
): Tree | undefined {
  const lineCounter = new yaml.LineCounter()
  const at = (offset: number): string => {
    const { line, col } = lineCounter.linePos(offset)
    return locate(Math.max(line, 1), Math.max(col, 1))
  }
  const parsed = yaml.parseAllDocuments(text, { lineCounter, prettyErrors: false, merge: true })
  const documents = 'empty' in parsed ? [] : parsed
  const [document, second] = documents
  const error = documents.flatMap(({ errors, warnings }) => [...errors, ...warnings])[0]
  if (error !== undefined) {
    const start = openBracket(error, documents) ?? error.pos[0]
    throw new DocumentError(`${at(start)}: ${describeYamlError(error, text)}`)
  }
  if (second !== undefined) {
    const start = second.range[0]
    throw new DocumentError(`${at(start)}: a second YAML document begins: only one is read`)
  }
  if (document === undefined || document.contents === null) return undefined
  const tree = createBuilder(document, at)(document.contents, locate(1, 1), 0)
  return tree.kind === 'scalar' && tree.text === '' ? undefined : tree
}

/** Where the bracket stands that is never closed: the parser names the place where it gave up. */
function openBracket(
  { code, pos: [end] }: yaml.YAMLError,
  documents: readonly yaml.Document.Parsed[],
): number | undefined {
  let start: number | undefined
  if (code !== 'BAD_INDENT') return undefined
  for (const document of documents) {
    yaml.visit(document, {
      Collection: (_, { flow, range }) => {
        if (flow && range && range[0] < end && end <= range[1]) start = range[0]
      },
    })
  }
  return start
}

function describeYamlError({ code, message, pos }: yaml.YAMLError, text: string): string {
  if (code === 'DUPLICATE_KEY') {
    const key = /^[^\s:]*/.exec(text.slice(pos[0]))?.[0] ?? ''
    return `duplicate key ${JSON.stringify(key)}: it stands in this section twice`
  }
  if (code === 'RESOURCE_EXHAUSTION') return 'not usable: it is nested too deeply'
  // Some messages end with a colon and the offending text, which may be a secret.
  return `not valid YAML: ${message.replace(/: .*$/s, '')}`
}

type Build = (node: yaml.ParsedNode | yaml.Node | null, origin: string, depth: number) => Tree

function createBuilder(document: yaml.Document.Parsed, at: (offset: number) => string): Build {
  let nodes = 0

  const originOf = (node: unknown, fallback: string): string =>
    yaml.isNode(node) && node.range ? at(node.range[0]) : fallback

  const build: Build = (node, origin, depth) => {
    nodes += 1
    if (nodes > MAX_NODES || depth > MAX_DEPTH) {
      throw new DocumentError(`${origin}: the configuration is too large, deep or circular`)
    }
    if (yaml.isAlias(node)) return build(resolve(node, origin), origin, depth + 1)
    if (yaml.isMap(node)) return buildMap(node, origin, depth)
    if (yaml.isSeq(node)) {
      const items = node.items.map((item) =>
        build(yaml.isNode(item) ? item : null, originOf(item, origin), depth + 1),
      )
      return { kind: 'list', origin, items }
    }
    return buildScalar(node, origin)
  }

  const resolve = (alias: yaml.Alias, origin: string): yaml.Node => {
    const target = alias.resolve(document)
    if (target !== undefined) return target
    // The name is not repeated: an unquoted password may begin with an asterisk.
    throw new DocumentError(
      `${origin}: a value that begins with * needs quotes (there is no anchor of this name)`,
    )
  }

  const buildMap = (node: yaml.YAMLMap, origin: string, depth: number): Tree => {
    const own = new Map<string, Tree>()
    const merged = new Map<string, Tree>()
    for (const { key, value } of node.items) {
      const keyOrigin = originOf(key, origin)
      const child = build(yaml.isNode(value) ? value : null, keyOrigin, depth + 1)
      if (isMergeKey(key)) mergeInto(merged, child)
      else own.set(keyText(key, keyOrigin), child)
    }
    for (const [key, child] of own) merged.set(key, child)
    return { kind: 'map', origin, entries: merged }
  }

  return build
}

function buildScalar(node: unknown, origin: string): Tree {
  if (!yaml.isScalar(node) || node.value === null) return textScalar('', origin)
  const { value, source } = node
  const text = typeof value === 'string' ? value : (source ?? String(value))
  return { kind: 'scalar', origin, text, value }
}

function keyText(key: unknown, origin: string): string {
  if (yaml.isScalar(key) && key.value !== null) {
    return typeof key.value === 'string' ? key.value : (key.source ?? String(key.value))
  }
  throw new DocumentError(`${origin}: a key must be a plain word`)
}

function isMergeKey(key: unknown): boolean {
  return yaml.isScalar(key) && key.source === '<<' && key.type === 'PLAIN'
}

/** YAML merge key: of several maps the earlier one wins. */
function mergeInto(target: Map<string, Tree>, source: Tree): void {
  const maps = source.kind === 'list' ? source.items : [source]
  for (const map of maps) {
    if (map.kind !== 'map') {
      throw new DocumentError(`${source.origin}: << merges maps, and this is not one`)
    }
    for (const [key, child] of map.entries) if (!target.has(key)) target.set(key, child)
  }
}

import { isUtf8 } from 'node:buffer'
import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import type * as z from 'zod'
import { describeReadProblem } from '../lib/file-problem.ts'
import { StartupError } from '../lib/startup-error.ts'
import {
  DocumentError,
  emptyMap,
  parseDocument,
  type Tree,
  type TreeMap,
  textScalar,
} from './document.ts'
import { expandChoices, getAt, setAt } from './edit.ts'
import { applyEnvironment } from './environment.ts'
import { splitItems } from './fields.ts'
import { type KeyNode, keyTree } from './keys.ts'
import { createReport, problemLine, type Report, showValue } from './report.ts'
import { reviewTree } from './review.ts'
import { checkRules, type Finding } from './rules.ts'
import { type Config, configSchema } from './schema.ts'

export type LoadOptions = {
  /** The configuration file; without it REGISTRY_CONFIGURATION_PATH, without that none. */
  file?: string
  env: NodeJS.ProcessEnv
  /** Values from the command line by dotted path, e.g. `{'upstream.url': '...'}`; they win. */
  overrides?: Readonly<Record<string, unknown>>
}

/**
 * The effective configuration: the file, then `REGISTRY_*` variables over it, then `overrides`.
 * Warnings are lines of the same form as problems.
 * @throws StartupError with a line for every problem there is
 */
export async function loadConfig({
  file,
  env,
  overrides = {},
}: LoadOptions): Promise<{ config: Config; warnings: string[] }> {
  const report = createReport()
  const path = file ?? (env['REGISTRY_CONFIGURATION_PATH'] || undefined)
  const root = path === undefined ? emptyMap('') : await readTree(path)
  expandChoices(root)
  applyEnvironment(root, env, report)
  for (const [key, value] of Object.entries(overrides)) {
    if (value !== undefined) setAt(root, key.split('.'), treeOf(value, 'command line'))
  }
  expandChoices(root)
  honourLoglevel(root, report)

  const plain = reviewTree(root, report)
  const { problems, warnings } = checkRules(plain)
  for (const finding of warnings) report.warning(findingLine(root, finding))
  for (const finding of problems) report.problem(findingLine(root, finding))
  const reported = new Set(problems.map((finding) => finding.path.join('.')))
  const result = configSchema.safeParse(plain)
  for (const issue of result.error?.issues ?? []) reportIssue(root, issue, reported, report)
  if (result.success && report.problems.length === 0) {
    return { config: result.data, warnings: [...report.warnings] }
  }
  throw new StartupError(report.problems)
}

const MAX_FILE_BYTES = 1024 * 1024

async function readTree(file: string): Promise<TreeMap> {
  const text = decodeText(await readBytes(file), file)
  let tree: Tree | undefined
  try {
    tree = parseDocument(text, (line, column) => `${file}:${line}:${column}`)
  } catch (error) {
    if (error instanceof DocumentError) throw new StartupError(error.message, { cause: error })
    throw error
  }
  if (tree === undefined) throw new StartupError(`${file}:1:1: the configuration file is empty`)
  if (tree.kind === 'map') return { ...tree, origin: file }
  throw new StartupError(`${file}:1:1: expected sections such as http: and upstream:`)
}

/** Never more than the limit is read: a device has no end, and a size of 0. */
async function readBytes(file: string): Promise<Buffer> {
  const problem = (text: string, options?: ErrorOptions) =>
    new StartupError(`configuration file: ${file} ${text}`, options)
  try {
    const status = await stat(file)
    if (!status.isFile() && !status.isDirectory()) {
      throw problem('is not a regular file; write the configuration into one')
    }
    const chunks = await createReadStream(file, { end: MAX_FILE_BYTES }).toArray()
    const bytes = Buffer.concat(chunks)
    if (bytes.length <= MAX_FILE_BYTES) return bytes
    throw problem('is larger than 1 MiB: this is not a configuration file')
  } catch (cause) {
    if (cause instanceof StartupError) throw cause
    throw problem(describeReadProblem(cause), { cause })
  }
}

function decodeText(bytes: Buffer, file: string): string {
  // TextDecoder drops a byte order mark; the parser's columns then start after it, as editors show.
  if (isUtf8(bytes)) return new TextDecoder().decode(bytes)
  const lines = bytes.toString('latin1').split('\n')
  const index = lines.findIndex((line) => !isUtf8(Buffer.from(line, 'latin1')))
  const valid = Buffer.from(lines[index] ?? '', 'latin1').toString('utf8')
  const column = valid.indexOf('\uFFFD') + 1
  throw new StartupError(
    `${file}:${index + 1}:${column}: not UTF-8: save the file in this encoding`,
  )
}

function treeOf(value: unknown, origin: string): Tree {
  if (Array.isArray(value)) {
    return { kind: 'list', origin, items: value.map((item) => treeOf(item, origin)) }
  }
  if (typeof value !== 'object' || value === null) return textScalar(String(value ?? ''), origin)
  const entries = Object.entries(value).map(([key, child]): [string, Tree] => [
    key,
    treeOf(child, origin),
  ])
  return { kind: 'map', origin, entries: new Map(entries) }
}

/** `loglevel` is the form from before registry:2; `log.level` wins. */
function honourLoglevel(root: TreeMap, report: Report): void {
  const old = root.entries.get('loglevel')
  if (old?.kind !== 'scalar' || old.text === '') return
  root.entries.delete('loglevel')
  const level = getAt(root, ['log', 'level'])
  const isSet = level?.kind === 'scalar' && level.text !== ''
  if (!isSet) setAt(root, ['log', 'level'], old)
  const effect = isSet ? 'ignored, because log.level is set' : 'use log.level instead'
  report.warning(problemLine(old.origin, 'loglevel', `deprecated: ${effect}`))
}

function reportIssue(
  root: TreeMap,
  issue: z.core.$ZodIssue,
  reported: ReadonlySet<string>,
  report: Report,
): void {
  // A rule that names a missing key says more than the schema.
  if (reported.has(issue.path.join('.'))) return
  const isMissing = isAbsent(root, issue.path)
  // A section that is missing or fits no form is told by the rule about its required key.
  const hasForms = issue.code === 'invalid_union'
  const below = `${issue.path.join('.')}.`
  if ((isMissing || hasForms) && [...reported].some((path) => path.startsWith(below))) return
  const path = issue.path.map(String)
  const message = isMissing ? describeMissing(path, issue.message) : issue.message
  report.problem(findingLine(root, { path, message }))
}

function isAbsent(root: TreeMap, path: readonly PropertyKey[]): boolean {
  // Items of the comma form of a list have no node of their own.
  const parent = getAt(root, path.slice(0, -1))
  if (parent?.kind === 'scalar' && parent.text !== '') return false
  const node = getAt(root, path)
  return node === undefined || (node.kind === 'scalar' && node.text === '')
}

function describeMissing(path: readonly string[], message: string): string {
  let node: KeyNode | undefined = keyTree
  for (const key of path) node = node?.children.get(key)
  const example = node?.doc?.example
  return `missing: ${message}${example === undefined ? '' : `, such as ${example}`}`
}

/** A finding with the place of its key, or of the closest section around it, and the key's value. */
function findingLine(root: TreeMap, { path, message }: Finding): string {
  const name = path.join('.')
  const shown = showValue(name, scalarText(root, path))
  let { origin } = root
  for (let length = path.length; length > 0; length -= 1) {
    const around = getAt(root, path.slice(0, length))
    if (around === undefined) continue
    origin = around.origin
    break
  }
  return problemLine(origin, name, `${message}${shown}`)
}

/** The text of a scalar, or of an item of the comma form of a list; else nothing. */
function scalarText(root: TreeMap, path: readonly string[]): string {
  const node = getAt(root, path)
  if (node !== undefined) return node.kind === 'scalar' ? node.text : ''
  const list = getAt(root, path.slice(0, -1))
  return list?.kind === 'scalar' ? (splitItems(list.text)[Number(path.at(-1))] ?? '') : ''
}

import { mapOrdered } from '../../lib/map-ordered.ts'
import type { StoragePath } from '../../storage/driver.ts'
import {
  blobsRoot,
  readonlyMark,
  repositoriesRoot,
  sweepsRoot,
  trashRoot,
} from '../../storage/layout.ts'
import { isTemporary, type Lister, walkWidth } from '../store-walk.ts'
import { attempt, attemptingLister, type CheckContext, type Finding, isOld } from './finding.ts'

const digest = '(?:sha256/[0-9a-f]{64}|sha512/[0-9a-f]{128})'
const blob = '(?:sha256/([0-9a-f]{2})/\\1[0-9a-f]{62}|sha512/([0-9a-f]{2})/\\2[0-9a-f]{126})'

/** What files the layout has, as far as a name can tell. */
const ours: readonly RegExp[] = [
  new RegExp(`^${blobsRoot}/${blob}/data$`),
  new RegExp(`^${repositoriesRoot}/.+/_layers/${digest}/link$`),
  // Old versions of registry:2 kept signatures beside manifests of schema 1.
  new RegExp(
    `^${repositoriesRoot}/.+/_manifests/revisions/${digest}/(?:link|mediatype|signatures/${digest}/link)$`,
  ),
  new RegExp(`^${repositoriesRoot}/.+/_manifests/tags/[^/]+/(?:current|index/${digest})/link$`),
  new RegExp(`^${sweepsRoot}/[^/]+$`),
  new RegExp(`^${readonlyMark}$`),
]
/** What is in these is judged as a whole. */
const closed: readonly RegExp[] = [
  new RegExp(`^${trashRoot}$`),
  new RegExp(`^${repositoriesRoot}/.+/_uploads/[^/]+$`),
]

/** Looks for files that are none of the layout's, and for those that a killed process was writing. */
export async function* checkFiles(context: CheckContext): AsyncGenerator<Finding> {
  const root = blobsRoot.slice(0, blobsRoot.lastIndexOf('/'))
  for await (const path of walkFiles(attemptingLister(context), root)) {
    const finding = await attempt(context, () => checkFile(context, path), undefined)
    if (finding !== undefined) yield finding
  }
}

async function checkFile(context: CheckContext, path: StoragePath): Promise<Finding | undefined> {
  if (isTemporary(path)) {
    return (await isOld(context, path)) ? temporaryFile(context, path) : undefined
  }
  if (ours.some((pattern) => pattern.test(path))) return undefined
  const size = (await context.driver.stat(path))?.size ?? 0
  return { problem: { kind: 'stray', path, size, detail: 'none of the registry’s; left alone' } }
}

function temporaryFile(context: CheckContext, path: StoragePath): Finding {
  const { driver } = context
  const mend = async (): Promise<boolean> =>
    (await isOld(context, path)) ? await driver.remove(path, { durable: true }) : true
  return { problem: { kind: 'temporary-file', path }, remedy: { announced: [], mend } }
}

async function* walkFiles(driver: Lister, root: StoragePath): AsyncGenerator<StoragePath> {
  const look = async (folder: StoragePath) => ({ folder, entries: await driver.list(folder) })
  const walk = async function* (folders: readonly StoragePath[]): AsyncGenerator<StoragePath> {
    for await (const { folder, entries = [] } of mapOrdered(folders, walkWidth, look)) {
      const below: StoragePath[] = []
      for (const { name, kind } of entries) {
        const path = `${folder}/${name}`
        if (kind === 'file') yield path
        else if (!closed.some((pattern) => pattern.test(path))) below.push(path)
      }
      yield* walk(below)
    }
  }
  yield* walk([root])
}

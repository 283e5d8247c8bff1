import type { Digest } from '../../lib/digest.ts'
import type { RepoName } from '../../lib/names.ts'
import type { StorageDriver, StoragePath } from '../../storage/driver.ts'
import { readLink, writeLink } from '../links.ts'
import { type CheckContext, type Finding, isOld, isUsable, type Remedy } from './finding.ts'

/** A link that is kept in a folder named by a digest, as `_layers` and `revisions` have them. */
export type LinkPlace = {
  readonly repository: RepoName
  /** What the folder is named by. */
  readonly digest: Digest
  readonly folder: StoragePath
}

/** What a link turned out to be. `isUsable` also when it is torn but its remedy makes it whole. */
export type LinkState = { readonly isUsable: boolean; readonly finding?: Finding }

/** Looks at a link and at what it leads to. */
export async function checkLink(context: CheckContext, place: LinkPlace): Promise<LinkState> {
  const { driver } = context
  const { repository, digest, folder } = place
  const path = `${folder}/link`
  const target = await readLink(driver, path)
  if (target !== undefined && (await isUsable(context, target))) return { isUsable: true }
  const problem = { path, repository, digest }
  if (target !== undefined) {
    const detail = `leads to ${target}, which is not there`
    const remedy = removing(context, place, async () => !(await isWhole(context, path)))
    return {
      isUsable: false,
      finding: { problem: { kind: 'link-dangling', ...problem, detail }, remedy },
    }
  }
  const isThere = (await driver.stat(path)) !== undefined
  if (!isThere && !(await isOld(context, folder))) return { isUsable: false }
  // Its folder says what a torn link held. One that is absent may have been taken away on purpose.
  const isKnown = isThere && (await isUsable(context, digest))
  const remedy = isKnown
    ? rewriting(context, place)
    : removing(context, place, async () => (await readLink(driver, path)) === undefined)
  return { isUsable: isKnown, finding: { problem: { kind: 'link-empty', ...problem }, remedy } }
}

async function isWhole(context: CheckContext, path: StoragePath): Promise<boolean> {
  const target = await readLink(context.driver, path)
  return target !== undefined && (await isUsable(context, target))
}

function removing(
  { driver }: CheckContext,
  { folder }: LinkPlace,
  isStillWrong: () => Promise<boolean>,
): Remedy {
  return {
    announced: [folder],
    async mend() {
      if (await isStillWrong()) await driver.remove(folder, { durable: true })
      return true
    },
  }
}

/** A push beside this writes the same. One that is absent by now has been deleted, and stays so. */
function rewriting({ driver }: CheckContext, { folder, digest }: LinkPlace): Remedy {
  const path = `${folder}/link`
  return {
    announced: [folder],
    async mend() {
      if (await isTorn(driver, path)) await writeLink(driver, path, digest)
      return true
    },
  }
}

/** True for a link that is there but holds no digest. */
export async function isTorn(driver: StorageDriver, path: StoragePath): Promise<boolean> {
  return (await readLink(driver, path)) === undefined && (await driver.stat(path)) !== undefined
}

import type { Digest } from '../../lib/digest.ts'
import type { RepoName, Tag } from '../../lib/names.ts'
import type { StoragePath } from '../../storage/driver.ts'
import {
  revision,
  tag as tagFolder,
  tagIndex,
  tagIndexLink,
  tagLink,
} from '../../storage/layout.ts'
import { readLink, writeLink } from '../links.ts'
import { digestsIn, lastMovement } from '../store-walk.ts'
import { tagFolders } from '../tag-names.ts'
import { type CheckContext, type Finding, gather, isUsable, type Remedy } from './finding.ts'
import { checkLink, isTorn } from './links.ts'

type Whole = ReadonlySet<Digest>

/** Looks at the tags of a repository, of which `whole` are the manifests. */
export async function* checkTags(
  context: CheckContext,
  repository: RepoName,
  whole: Whole,
): AsyncGenerator<Finding> {
  for (const tag of await tagFolders(context.driver, repository)) {
    context.counts.tags += 1
    yield* await gather(context, checkTag(context, { repository, tag }, whole))
  }
}

async function* checkTag(
  context: CheckContext,
  { repository, tag }: Omit<TagPlace, 'history'>,
  whole: Whole,
): AsyncGenerator<Finding> {
  const history = await digestsIn(context.driver, `${tagFolder(repository, tag)}/index`)
  const place = { repository, tag, history }
  const finding = await checkCurrent(context, place, whole)
  if (finding !== undefined) yield finding
  else yield* checkHistory(context, place, whole)
}

type TagPlace = {
  readonly repository: RepoName
  readonly tag: Tag
  readonly history: readonly Digest[]
}

async function checkCurrent(
  context: CheckContext,
  place: TagPlace,
  whole: Whole,
): Promise<Finding | undefined> {
  const { repository, tag } = place
  const path = tagLink(repository, tag)
  const link = await context.driver.stat(path)
  const current = await readLink(context.driver, path)
  if (current !== undefined) {
    if (await isAlive(context, place, { current, whole })) return undefined
    const detail = `leads to ${current}, which is not there`
    const remedy = removing(context, place, async () => {
      const now = await readLink(context.driver, path)
      return now === current && !(await isAlive(context, place, { current, whole }))
    })
    return { problem: { kind: 'link-dangling', path, repository, digest: current, detail }, remedy }
  }
  const folder = tagFolder(repository, tag)
  if (!(await isSettled(context, folder))) return undefined
  if (link === undefined) {
    const remedy = removing(
      context,
      place,
      async () => (await context.driver.stat(path)) === undefined,
    )
    return { problem: { kind: 'tag-without-current', path: folder, repository }, remedy }
  }
  return {
    problem: { kind: 'link-empty', path, repository },
    remedy: renewing(context, place, whole),
  }
}

/** A manifest that was pushed since we looked is alive too. */
async function isAlive(
  context: CheckContext,
  { repository }: TagPlace,
  { current, whole }: { readonly current: Digest; readonly whole: Whole },
): Promise<boolean> {
  if (whole.has(current)) return true
  const folder = revision(repository, current)
  return (await checkLink(context, { repository, digest: current, folder })).isUsable
}

async function isSettled({ driver, oldBefore }: CheckContext, path: StoragePath): Promise<boolean> {
  const movement = await lastMovement(driver, path)
  return movement !== undefined && movement.modifiedAt < oldBefore
}

function removing(
  context: CheckContext,
  { repository, tag }: TagPlace,
  isStillWrong: () => Promise<boolean>,
): Remedy {
  const folder = tagFolder(repository, tag)
  return {
    announced: [folder],
    async mend() {
      if (await isStillWrong()) await context.driver.remove(folder, { durable: true })
      return true
    },
  }
}

/**
 * An empty link is one that was being overwritten in place when registry:2 was stopped: the tag was there
 * and was meant to stay, so it gets what it was pushed with last. Without that it goes.
 */
function renewing(context: CheckContext, place: TagPlace, whole: Whole): Remedy {
  const { driver } = context
  const { repository, tag } = place
  const path = tagLink(repository, tag)
  const isEmpty = async (): Promise<boolean> => (await readLink(driver, path)) === undefined
  const remove = removing(context, place, isEmpty)
  return {
    announced: remove.announced,
    async mend() {
      const last = await newest(context, place, whole)
      if (last === undefined) return await remove.mend()
      // One that is absent by now has been deleted, and stays so.
      if (await isTorn(driver, path)) await writeLink(driver, path, last)
      return true
    },
  }
}

async function newest(
  context: CheckContext,
  place: TagPlace,
  whole: Whole,
): Promise<Digest | undefined> {
  const { repository, tag, history } = place
  const times = new Map<Digest, number>()
  for (const current of history) {
    if (!(await isAlive(context, place, { current, whole }))) continue
    const stat = await context.driver.stat(tagIndexLink(repository, tag, current))
    times.set(current, stat?.modifiedAt ?? 0)
  }
  return [...times].sort(([, a], [, b]) => b - a)[0]?.[0]
}

/** What a tag meant once may be gone; but not only half. */
async function* checkHistory(
  context: CheckContext,
  { repository, tag, history }: TagPlace,
  whole: Whole,
): AsyncGenerator<Finding> {
  const { driver } = context
  for (const digest of history) {
    const folder = tagIndex(repository, tag, digest)
    const path = `${folder}/link`
    const isDangling = async (): Promise<boolean> => !(await isUsable(context, digest))
    const problem = { path, repository, digest }
    const announced = [revision(repository, digest)]
    if (!whole.has(digest) && (await isDangling())) {
      const mend = async (): Promise<boolean> => {
        if (await isDangling()) await driver.remove(folder, { durable: true })
        return true
      }
      yield { problem: { kind: 'link-dangling', ...problem }, remedy: { announced, mend } }
    } else if (await isTorn(driver, path)) {
      const mend = async (): Promise<boolean> => {
        if (await isTorn(driver, path)) await writeLink(driver, path, digest)
        return true
      }
      yield { problem: { kind: 'link-empty', ...problem }, remedy: { announced, mend } }
    }
  }
}

import type { Digest } from '../../lib/digest.ts'
import type { RepoName } from '../../lib/names.ts'
import { layer, layers } from '../../storage/layout.ts'
import { digestsIn, lastMovement } from '../store-walk.ts'
import { idleSessions } from '../uploads/purge.ts'
import { attempt, type CheckContext, type Finding, gather } from './finding.ts'
import { checkLink, type LinkState } from './links.ts'
import { checkManifests } from './manifests.ts'
import { checkTags } from './tags.ts'

/** Looks at everything in a repository, what others lead to first. */
export async function checkRepository(
  context: CheckContext,
  repository: RepoName,
): Promise<readonly Finding[]> {
  context.counts.repositories += 1
  context.onProgress(context.counts)
  const usable = { layers: new Set<Digest>(), revisions: new Set<Digest>() }
  return [
    ...(await gather(context, checkLayers(context, repository, usable.layers))),
    ...(await gather(context, checkManifests(context, repository, usable))),
    ...(await gather(context, checkTags(context, repository, usable.revisions))),
    ...(await gather(context, checkUploads(context, repository))),
  ]
}

/** Looks at the layer links of a repository and adds those that are whole to `usable`. */
async function* checkLayers(
  context: CheckContext,
  repository: RepoName,
  usable: Set<Digest>,
): AsyncGenerator<Finding> {
  for (const digest of await digestsIn(context.driver, layers(repository))) {
    context.counts.layerLinks += 1
    const place = { repository, digest, folder: layer(repository, digest) }
    // One that cannot be read may well be whole: nothing is said of manifests that need it.
    const unknown: LinkState = { isUsable: true }
    const look = () => checkLink(context, place)
    const { isUsable, finding } = await attempt(context, look, unknown)
    if (isUsable) usable.add(digest)
    if (finding !== undefined) yield finding
  }
}

/** Clients cannot go on with a session that has no `startedat`. */
async function* checkUploads(
  { driver, oldBefore, idleBefore }: CheckContext,
  repository: RepoName,
): AsyncGenerator<Finding> {
  for (const { path, modifiedAt, bytes } of await idleSessions(driver, repository, oldBefore)) {
    const isWhole = (await driver.stat(`${path}/startedat`)) !== undefined
    if (isWhole && modifiedAt >= idleBefore) continue
    const mend = async (): Promise<boolean> => {
      const movement = await lastMovement(driver, path)
      if (movement?.modifiedAt !== modifiedAt) return true
      return await driver.remove(path, { durable: true })
    }
    const detail = isWhole
      ? 'nobody goes on with it'
      : 'has no startedat, so nobody can go on with it'
    yield {
      problem: { kind: 'upload-leaked', path, repository, size: bytes, detail },
      remedy: { announced: [], mend },
    }
  }
}

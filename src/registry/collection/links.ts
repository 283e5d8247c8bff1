import type { Digest } from '../../lib/digest.ts'
import { mapOrdered } from '../../lib/map-ordered.ts'
import type { RepoName, Tag } from '../../lib/names.ts'
import type { StorageDriver } from '../../storage/driver.ts'
import { layer, layerLink, layers, revision, tagIndex } from '../../storage/layout.ts'
import { digestsIn, walkWidth } from '../store-walk.ts'
import type { Closure } from './closure.ts'
import type { Condemned, IsYoung, MarkContext, ReferencesOf } from './mark.ts'
import { isAliasable, linkTime, type StoredRevision, type StoredTag, targetOf } from './stored.ts'

/** What a look at a repository found. */
export type RepositoryParts = {
  readonly stored: readonly StoredRevision[]
  readonly tags: readonly StoredTag[]
  readonly closure: Closure
  readonly isYoung: IsYoung
  /** Whether an upload is under way, which relies on layers that no manifest names yet. */
  readonly isBusy: boolean
  readonly referencesOf: ReferencesOf
}

/** Manifests that nothing keeps. Indexes first: should we be stopped, none lacks what it lists. */
export async function condemnManifests(
  name: RepoName,
  { stored, closure, referencesOf }: RepositoryParts,
): Promise<Condemned[]> {
  const condemned = stored.filter(({ digest }) => !closure.manifests.has(digest))
  const look = async ({ digest, modifiedAt }: StoredRevision) => {
    const path = revision(name, digest)
    const item: Condemned = { kind: 'manifest', name, digest, path, announced: path, modifiedAt }
    return { item, isIndex: (await referencesOf(digest)).manifests.length > 0 }
  }
  const looks = await Array.fromAsync(mapOrdered(condemned, walkWidth, look))
  return looks.sort((a, b) => Number(b.isIndex) - Number(a.isIndex)).map(({ item }) => item)
}

/** What tags meant once: manifests that go now or have gone. */
export async function condemnHistory(
  driver: StorageDriver,
  name: RepoName,
  { tags, closure, isYoung }: RepositoryParts,
): Promise<Condemned[]> {
  if (!closure.isKnown) return []
  const past = tags.flatMap(({ tag, history }) => history.map((digest) => ({ tag, digest })))
  const dead = past.filter(({ digest }) => !closure.manifests.has(digest))
  const look = async ({ tag, digest }: { tag: Tag; digest: Digest }): Promise<Condemned> => {
    const path = tagIndex(name, tag, digest)
    const modifiedAt = await linkTime(driver, path)
    return { kind: 'history', name, digest, path, announced: revision(name, digest), modifiedAt }
  }
  const looks = await Array.fromAsync(mapOrdered(dead, walkWidth, look))
  return looks.filter(({ path, modifiedAt }) => !isYoung(path, modifiedAt))
}

/** Finds the layer links that nothing keeps, and marks the blobs of all others. */
export async function markLayers(
  { driver, marks }: MarkContext,
  name: RepoName,
  { closure, isYoung, isBusy }: RepositoryParts,
): Promise<{ readonly kept: number; readonly condemned: readonly Condemned[] }> {
  const keepsAll = isBusy || !closure.isKnown
  const needed = (digest: Digest): boolean =>
    keepsAll || closure.blobs.has(digest) || closure.manifests.has(digest) || aliased.has(digest)
  const aliased = new Set<Digest>()
  const condemned: Condemned[] = []
  let kept = 0
  const look = async (digest: Digest): Promise<void> => {
    const path = layer(name, digest)
    const modifiedAt = needed(digest) ? undefined : await linkTime(driver, path)
    if (modifiedAt !== undefined && !isYoung(path, modifiedAt)) {
      condemned.push({ kind: 'layer', name, digest, path, announced: path, modifiedAt })
      return
    }
    const target = await targetOf(driver, layerLink(name, digest), digest)
    marks.blobs.add(target)
    if (target !== digest) aliased.add(target)
    kept += 1
  }
  const digests = await digestsIn(driver, layers(name))
  // Aliases first: a link that one leads to is kept with it.
  const groups = [digests.filter(isAliasable), digests.filter((digest) => !isAliasable(digest))]
  for (const group of groups) await Array.fromAsync(mapOrdered(group, walkWidth, look))
  return { kept, condemned }
}

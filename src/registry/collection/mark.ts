import type { Digest } from '../../lib/digest.ts'
import { mapOrdered } from '../../lib/map-ordered.ts'
import type { RepoName } from '../../lib/names.ts'
import type { StorageDriver, StoragePath } from '../../storage/driver.ts'
import { revision, revisionMediaType, uploads } from '../../storage/layout.ts'
import { foldersIn, lastMovement, walkWidth } from '../store-walk.ts'
import { readReferences, type StoredReferences } from '../stored-references.ts'
import { type Closure, closeOver } from './closure.ts'
import { condemnHistory, condemnManifests, markLayers } from './links.ts'
import { listRevisions, listTags, type StoredRevision, type StoredTag } from './stored.ts'

export type MarkPolicy = {
  readonly untagged: 'keep' | 'delete'
  /** What changed later than this is kept. */
  readonly youngAfter: number
  /** A repository with an upload that moved later than this keeps all its layers. */
  readonly busyAfter: number
}

/** What the whole store must keep. */
export type Marks = {
  readonly blobs: Set<Digest>
  /** Manifests whose references are among `blobs`. */
  readonly followed: Set<Digest>
}

/** Something in a repository that nothing keeps. */
export type Condemned = {
  readonly kind: 'history' | 'manifest' | 'layer'
  readonly name: RepoName
  readonly digest: Digest
  /** What is to be removed. */
  readonly path: StoragePath
  /** How pushes that rely on it know it. */
  readonly announced: StoragePath
  /** To be compared: if it changed it is in use again. */
  readonly modifiedAt: number
}

export type RepositoryMark = {
  readonly name: RepoName
  /** Kept. */
  readonly manifests: number
  readonly tags: number
  /** Kept. */
  readonly layers: number
  /** Whether a tag or an upload, whole or not, keeps the folder of the repository. */
  readonly hasOther: boolean
  /** In the order in which to remove it. */
  readonly condemned: readonly Condemned[]
  /** False if something that is kept cannot be read: then all of the repository is kept. */
  readonly isKnown: boolean
}

export type MarkContext = {
  readonly driver: StorageDriver
  readonly policy: MarkPolicy
  readonly marks: Marks
  /** What was read of a repository before, so that looking at it again takes less; grows. */
  readonly known?: KnownReferences | undefined
}

/** By digest and time of the link: content under a digest stays, but a push may give it another type. */
export type KnownReferences = Map<string, StoredReferences>

/** What the manifest under a digest refers to. */
export type ReferencesOf = (digest: Digest) => Promise<StoredReferences>

/** Tells whether something is kept for its age. */
export type IsYoung = (path: StoragePath, modifiedAt: number) => boolean

/**
 * Marks everything that a repository keeps. At a second look, `condemned` is what the first condemned:
 * what is not among it, or has changed since, has come into use.
 */
export async function markRepository(
  context: MarkContext,
  name: RepoName,
  condemned?: readonly Condemned[],
): Promise<RepositoryMark> {
  const { driver, policy } = context
  const known = condemned && new Map(condemned.map(({ path, modifiedAt }) => [path, modifiedAt]))
  const isYoung: IsYoung = (path, modifiedAt) =>
    modifiedAt > policy.youngAfter || (known !== undefined && known.get(path) !== modifiedAt)
  const sessions = await foldersIn(driver, uploads(name))
  const isBusy = await isUploading(context, name, sessions)
  // Tags last: a push writes its tag when the manifest is there.
  const stored = await listRevisions(driver, name)
  const tags = await listTags(driver, name)
  const referencesOf = createReferencesOf(context, name, stored)
  const closure = await closeRepository(context, name, { stored, tags, isYoung, referencesOf })
  const parts = { stored, tags, closure, isYoung, isBusy, referencesOf }
  const manifests = await condemnManifests(name, parts)
  const history = await condemnHistory(driver, name, parts)
  const layers = await markLayers(context, name, parts)
  return {
    name,
    manifests: stored.length - manifests.length,
    tags: tags.filter(({ current }) => current !== undefined).length,
    layers: layers.kept,
    hasOther: sessions.length > 0 || tags.length > 0,
    condemned: [...history, ...manifests, ...layers.condemned],
    isKnown: closure.isKnown,
  }
}

async function isUploading(
  { driver, policy }: MarkContext,
  name: RepoName,
  sessions: readonly string[],
): Promise<boolean> {
  for (const id of sessions) {
    const movement = await lastMovement(driver, `${uploads(name)}/${id}`)
    if (movement !== undefined && movement.modifiedAt > policy.busyAfter) return true
  }
  return false
}

/** Makes a function that reads each manifest once. */
function createReferencesOf(
  { driver, known = new Map() }: MarkContext,
  name: RepoName,
  stored: readonly StoredRevision[],
): ReferencesOf {
  const revisions = new Map(stored.map((revision) => [revision.digest, revision]))
  return async (digest) => {
    const { target, modifiedAt } = revisions.get(digest) ?? { target: digest, modifiedAt: 0 }
    const key = `${digest} ${modifiedAt}`
    const references =
      known.get(key) ?? (await readReferences(driver, target, revisionMediaType(name, target)))
    // What cannot be read now may be pushed again.
    if (references.isKnown) known.set(key, references)
    return references
  }
}

type Look = {
  readonly stored: readonly StoredRevision[]
  readonly tags: readonly StoredTag[]
  readonly isYoung: IsYoung
  readonly referencesOf: ReferencesOf
}

async function closeRepository(
  { policy, marks }: MarkContext,
  name: RepoName,
  { stored, tags, isYoung, referencesOf }: Look,
): Promise<Closure> {
  const revisions = new Map(stored.map(({ digest, target }) => [digest, target]))
  await Array.fromAsync(mapOrdered(revisions.keys(), walkWidth, referencesOf))
  const isRoot = ({ digest, modifiedAt }: StoredRevision): boolean =>
    policy.untagged === 'keep' || isYoung(revision(name, digest), modifiedAt)
  // A torn tag means one of what it ever meant; `fsck` can tell which as long as they are there.
  const meanings = tags.map(({ current, history }) => (current === undefined ? history : [current]))
  const roots = [...stored.filter(isRoot).map(({ digest }) => digest), ...meanings.flat()]
  const closure = await closeOver({ roots, revisions, referencesOf })
  for (const digest of closure.manifests) {
    marks.blobs.add(digest).add(revisions.get(digest) ?? digest)
    if (closure.read.has(digest)) marks.followed.add(digest)
  }
  for (const digest of closure.blobs) marks.blobs.add(digest)
  return closure
}

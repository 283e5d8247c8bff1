import type { Digest } from '../../lib/digest.ts'
import type { StoredReferences } from '../stored-references.ts'

export type ClosureParts = {
  /** Manifests that are kept for their own sake. */
  readonly roots: Iterable<Digest>
  /** Every revision of the repository, and where its bytes are: elsewhere behind an alias. */
  readonly revisions: ReadonlyMap<Digest, Digest>
  /** What the manifest under a digest refers to. */
  readonly referencesOf: (digest: Digest) => Promise<StoredReferences>
}

/** What must stay in a repository. */
export type Closure = {
  readonly manifests: ReadonlySet<Digest>
  readonly blobs: ReadonlySet<Digest>
  /** Those of the manifests whose references are among all these. */
  readonly read: ReadonlySet<Digest>
  /** False if something that is kept cannot be read, so that anything may be needed. */
  readonly isKnown: boolean
}

/**
 * What the roots keep: what they refer to, and what refers to them by `subject`, and so on. A subject is
 * not kept by its referrers: a signature does not make anything worth keeping.
 */
export async function closeOver(parts: ClosureParts): Promise<Closure> {
  const { revisions, referencesOf } = parts
  const referrers = await findReferrers(parts)
  const manifests = new Set<Digest>()
  const blobs = new Set<Digest>()
  const read = new Set<Digest>()
  let isKnown = true
  const open = [...parts.roots]
  for (let digest = open.pop(); digest !== undefined; digest = open.pop()) {
    if (manifests.has(digest)) continue
    manifests.add(digest)
    const references = await referencesOf(digest)
    const target = revisions.get(digest)
    if (references.isKnown) read.add(digest)
    else if (target !== undefined && isKnown) {
      isKnown = false
      append(open, revisions.keys())
    }
    if (target !== undefined) open.push(target)
    append(open, references.manifests)
    append(open, referrers.get(digest) ?? [])
    for (const blob of references.blobs) blobs.add(blob)
  }
  return { manifests, blobs, read, isKnown }
}

/** A call with so many arguments would be more than the stack takes. */
function append(list: Digest[], more: Iterable<Digest>): void {
  for (const digest of more) list.push(digest)
}

async function findReferrers({
  revisions,
  referencesOf,
}: ClosureParts): Promise<Map<Digest, Digest[]>> {
  const referrers = new Map<Digest, Digest[]>()
  for (const digest of revisions.keys()) {
    const { subject } = await referencesOf(digest)
    if (subject === undefined) continue
    const ofSubject = referrers.get(subject)
    if (ofSubject === undefined) referrers.set(subject, [digest])
    else ofSubject.push(digest)
  }
  return referrers
}

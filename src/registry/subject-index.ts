import type { Digest } from '../lib/digest.ts'
import { mapOrdered } from '../lib/map-ordered.ts'
import type { RepoName } from '../lib/names.ts'
import { createSizedCache } from '../lib/sized-cache.ts'
import type { StorageDriver } from '../storage/driver.ts'
import { blobData, revisionLink, revisions } from '../storage/layout.ts'
import { isContentOf } from './digester.ts'
import { readLink } from './links.ts'
import { readManifest } from './manifests/document.ts'
import { maxManifestBytes } from './manifests/reader.ts'
import { digestsIn } from './store-walk.ts'

/** Manifests whose subject is remembered: about 30 MiB. */
const maxSubjects = 100_000
/** Referrers that are remembered by their subjects, of all repositories: about 20 MiB. */
const maxReferrers = 100_000
const width = 16

/** What a manifest says of its subject. */
type Subject = { readonly subject: Digest | undefined }

type Known = {
  /** Digests in all of it. */
  readonly size: number
  /** Of the folders of revisions when they were listed; undefined if that was too new to tell. */
  readonly version: string | undefined
  readonly bySubject: ReadonlyMap<Digest, readonly Digest[]>
  /** Revisions that had no link or no manifest, and may get one without a trace in the folder. */
  readonly doubtful: readonly Digest[]
}

/**
 * Makes a function that returns the manifests of a repository whose subject is `subject`; one of them may
 * have been deleted meanwhile. What a digest stands for never changes, so neither does its subject: each
 * manifest is read once. A new one is a new folder among the revisions, which changes their version.
 */
export function createSubjectIndex(
  driver: StorageDriver,
  remembered = maxSubjects,
): (name: RepoName, subject: Digest) => Promise<readonly Digest[]> {
  const subjects = createSizedCache<Digest, Subject>({ maxCost: remembered, costOf: () => 1 })
  const known = createSizedCache<RepoName, Known>({
    maxCost: maxReferrers,
    costOf: ({ size }) => 1 + size,
  })

  const learn = async (name: RepoName, digest: Digest): Promise<Subject | undefined> => {
    // Another name of a revision, as registry:3 makes them, is not a manifest of its own.
    if ((await readLink(driver, revisionLink(name, digest))) !== digest) return undefined
    const path = blobData(digest)
    if (((await driver.stat(path))?.size ?? 0) > maxManifestBytes) return undefined
    const content = (await driver.read(path))?.content
    if (content === undefined || !isContentOf(digest, content)) return undefined
    const manifest = readManifest(content)
    if (manifest === undefined) return undefined
    const found = { subject: manifest.subject }
    subjects.set(digest, found)
    return found
  }

  const index = async (
    name: RepoName,
    digests: readonly Digest[],
  ): Promise<Omit<Known, 'version'>> => {
    const bySubject = new Map<Digest, Digest[]>()
    const doubtful: Digest[] = []
    const sort = (digest: Digest, found: Subject | undefined): void => {
      if (found === undefined) doubtful.push(digest)
      else if (found.subject !== undefined) {
        const others = bySubject.get(found.subject)
        if (others === undefined) bySubject.set(found.subject, [digest])
        else others.push(digest)
      }
    }
    const unknown: Digest[] = []
    for (const digest of digests) {
      const found = subjects.get(digest)
      if (found === undefined) unknown.push(digest)
      else sort(digest, found)
    }
    const look = async (digest: Digest): Promise<void> => sort(digest, await learn(name, digest))
    await Array.fromAsync(mapOrdered(unknown, width, look))
    const size = [...bySubject.values()].reduce((sum, { length }) => sum + length, doubtful.length)
    return { size, bySubject, doubtful }
  }

  return async (name, subject) => {
    // Before the listing: what changes in between makes the version old, never the listing.
    const version = await versionOf(driver, name)
    const last = known.get(name)
    const isSame = version !== undefined && last?.version === version
    if (!isSame) {
      const found = await index(name, await digestsIn(driver, revisions(name)))
      known.set(name, { version, ...found })
      return found.bySubject.get(subject) ?? []
    }
    const late = last.doubtful.length > 0 ? await index(name, last.doubtful) : undefined
    return [...(last.bySubject.get(subject) ?? []), ...(late?.bySubject.get(subject) ?? [])]
  }
}

/** Of the folders that a new revision is a new folder in; undefined if one has changed just now. */
async function versionOf(driver: StorageDriver, name: RepoName): Promise<string | undefined> {
  const stats = await Promise.all(
    ['sha256', 'sha512'].map((algorithm) => driver.stat(`${revisions(name)}/${algorithm}`)),
  )
  const isSettled = stats.every((stat) => stat === undefined || stat.version !== undefined)
  return isSettled ? stats.map((stat) => stat?.version ?? 'none').join(' ') : undefined
}

import type { Digest } from '../../lib/digest.ts'
import type { RepoName } from '../../lib/names.ts'
import type { StorageDriver, StoragePath } from '../../storage/driver.ts'
import { blobData } from '../../storage/layout.ts'
import { isStorable } from '../digester.ts'
import type { Lister } from '../store-walk.ts'
import { UnreadableError } from '../unreadable.ts'

export type ProblemKind =
  /** A link file with no digest in it, or the folder of a link without one. */
  | 'link-empty'
  /** A link to something that is not there. */
  | 'link-dangling'
  | 'tag-without-current'
  /** A file that a process which was killed was writing. */
  | 'temporary-file'
  /** An upload that cannot go on, or that nobody goes on with. */
  | 'upload-leaked'
  /** Content that is not what its name says. */
  | 'blob-mismatch'
  /** A blob of no bytes whose name is that of some. */
  | 'blob-torn'
  | 'blob-empty-folder'
  /** A manifest that lacks something it refers to; only a push can mend it. */
  | 'manifest-incomplete'
  /** Something that the system cannot read, so that nobody knows what it says. */
  | 'unreadable'
  /** A file that is none of ours. Never touched, and nothing wrong with the store. */
  | 'stray'

export type Problem = {
  readonly kind: ProblemKind
  readonly path: StoragePath
  readonly repository?: RepoName
  readonly digest?: Digest
  readonly size?: number
  readonly detail?: string
}

export type Remedy = {
  /** How pushes know what this may take from them. */
  readonly announced: readonly StoragePath[]
  /** Looks whether the problem is still there and removes it; true if it has gone. */
  mend(): Promise<boolean>
}

export type Finding = { readonly problem: Problem; readonly remedy?: Remedy }

export type CheckContext = {
  readonly driver: StorageDriver
  /** Reads all blobs again and compares them with their names. */
  readonly rehash: boolean
  /** What was changed after this may be under way. */
  readonly oldBefore: number
  /** An upload that nobody went on with since then is left behind. */
  readonly idleBefore: number
  /** Blobs whose content cannot be used. */
  readonly bad: Set<Digest>
  /** What could not be read, and why. */
  readonly unreadable: Map<StoragePath, string>
  /** What was looked at. */
  readonly counts: CheckCounts
  readonly onProgress: (counts: Readonly<CheckCounts>) => void
}

/** What `look` finds; `otherwise` if the system cannot read what it needs, which is noted. */
export async function attempt<T>(
  { unreadable }: Pick<CheckContext, 'unreadable'>,
  look: () => Promise<T>,
  otherwise: T,
): Promise<T> {
  try {
    return await look()
  } catch (error) {
    if (!(error instanceof UnreadableError)) throw error
    unreadable.set(error.path, error.reason)
    return otherwise
  }
}

/** All findings, or those up to something that the system cannot read, which is noted. */
export async function gather(
  context: Pick<CheckContext, 'unreadable'>,
  findings: AsyncIterable<Finding>,
): Promise<readonly Finding[]> {
  const gathered: Finding[] = []
  const look = async (): Promise<void> => {
    for await (const finding of findings) gathered.push(finding)
  }
  await attempt(context, look, undefined)
  return gathered
}

/** Lists what can be listed; what cannot is noted, and taken for absent. */
export function attemptingLister(context: Pick<CheckContext, 'driver' | 'unreadable'>): Lister {
  return { list: (path) => attempt(context, () => context.driver.list(path), undefined) }
}

export type CheckCounts = {
  repositories: number
  manifests: number
  tags: number
  layerLinks: number
  blobs: number
  bytes: number
}

/** True if there are bytes under the digest, and they are not known to be bad. */
export async function isUsable(
  { driver, bad }: Pick<CheckContext, 'driver' | 'bad'>,
  digest: Digest,
): Promise<boolean> {
  if (!isStorable(digest) || bad.has(digest)) return false
  return (await driver.stat(blobData(digest)))?.kind === 'file'
}

/** True if the file or folder was changed so long ago that nobody is about to complete it. */
export async function isOld(
  { driver, oldBefore }: CheckContext,
  path: StoragePath,
): Promise<boolean> {
  const stat = await driver.stat(path)
  return stat !== undefined && stat.modifiedAt < oldBefore
}

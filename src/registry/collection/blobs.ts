import type { Digest } from '../../lib/digest.ts'
import { mapOrdered } from '../../lib/map-ordered.ts'
import type { RepoName } from '../../lib/names.ts'
import type { StorageDriver, StoragePath } from '../../storage/driver.ts'
import {
  blobData,
  blobFolder,
  layerLink,
  layers,
  revisionLink,
  revisionMediaType,
  revisions,
} from '../../storage/layout.ts'
import { digestsIn, isTemporary, listRepositories, walkBlobs, walkWidth } from '../store-walk.ts'
import { readReferences } from '../stored-references.ts'
import type { MarkContext } from './mark.ts'
import { targetOf } from './stored.ts'
import { type Fate, type SweepContext, sweepBatch } from './sweep.ts'

/** Most blobs announced at once. More than of links, as the second look goes through all repositories. */
const maxBatch = 8_000

/** A blob that nothing keeps. */
export type CondemnedBlob = {
  readonly digest: Digest
  readonly path: StoragePath
  readonly announced: StoragePath
  readonly size: number
  /** To be compared: if it changed it is in use again. */
  readonly changedAt: string
}

export type BlobCensus = {
  /** Blobs of all kinds. */
  readonly count: number
  readonly bytes: number
  readonly condemned: readonly CondemnedBlob[]
  /** Folders without a blob, and those in which blobs are kept. */
  readonly folders: readonly StoragePath[]
  /** What killed processes were writing where no blob came to be. */
  readonly temporary: readonly StoragePath[]
}

/** Looks at all blobs. Memory grows with those that are condemned. */
export async function findCondemnedBlobs(
  { driver, policy, marks }: MarkContext,
  signal: AbortSignal | undefined,
): Promise<BlobCensus> {
  const condemned: CondemnedBlob[] = []
  const bare: StoragePath[] = []
  const temporary: StoragePath[] = []
  const parents: StoragePath[] = []
  const total = { count: 0, bytes: 0 }
  const sort = ({ size, modifiedAt, ...blob }: ExaminedBlob): void => {
    const isYoung = modifiedAt > policy.youngAfter
    if (size === undefined) {
      if (!isYoung) bare.push(blob.path)
      return
    }
    total.count += 1
    total.bytes += size
    if (!isYoung && !marks.blobs.has(blob.digest)) condemned.push({ ...blob, size })
  }
  for await (const { parent, digests } of walkBlobs(driver)) {
    signal?.throwIfAborted()
    parents.push(parent)
    const looks = mapOrdered(digests, walkWidth, (digest) => examine(driver, digest))
    for await (const blob of looks) sort(blob)
  }
  for (const folder of bare) {
    for (const path of await abandoned({ driver, policy }, folder)) temporary.push(path)
  }
  return { ...total, condemned, folders: [...bare, ...parents], temporary }
}

/** Files of a folder that were being written, but not lately. */
async function abandoned(
  { driver, policy }: Pick<MarkContext, 'driver' | 'policy'>,
  folder: StoragePath,
): Promise<StoragePath[]> {
  const paths: StoragePath[] = []
  for (const { name, kind } of (await driver.list(folder)) ?? []) {
    const path = `${folder}/${name}`
    if (kind !== 'file' || !isTemporary(name)) continue
    const stat = await driver.stat(path)
    if (stat !== undefined && stat.modifiedAt < policy.busyAfter) paths.push(path)
  }
  return paths
}

type ExaminedBlob = Omit<CondemnedBlob, 'size'> & {
  /** Undefined if there is only a folder. */
  readonly size: number | undefined
  readonly modifiedAt: number
}

/** The time of the folder is when the bytes were put there, which they themselves do not tell. */
async function examine(driver: StorageDriver, digest: Digest): Promise<ExaminedBlob> {
  const path = blobFolder(digest)
  const [data, folder] = await Promise.all([driver.stat(blobData(digest)), driver.stat(path)])
  const times = [data?.modifiedAt ?? 0, folder?.modifiedAt ?? 0]
  const modifiedAt = Math.max(...times)
  return { digest, path, announced: path, size: data?.size, modifiedAt, changedAt: times.join() }
}

/** Removes condemned blobs. False if nothing more may be removed. */
export async function sweepBlobs(
  context: SweepContext,
  condemned: readonly CondemnedBlob[],
  onFate: (blob: CondemnedBlob, fate: Fate) => void,
): Promise<boolean> {
  const isSame = async ({ digest, changedAt }: CondemnedBlob): Promise<boolean> =>
    (await examine(context.driver, digest)).changedAt === changedAt
  for (let start = 0; start < condemned.length; start += maxBatch) {
    const batch = condemned.slice(start, start + maxBatch)
    const lookAgain = () => stillUnused(context, batch)
    if (await sweepBatch(context, batch, { lookAgain, isSame, onFate })) continue
    for (const blob of condemned.slice(start + maxBatch)) onFate(blob, 'left')
    return false
  }
  return true
}

/** Looks through all repositories for links to a batch of blobs. */
async function stillUnused(
  context: SweepContext,
  batch: readonly CondemnedBlob[],
): Promise<ReadonlySet<CondemnedBlob>> {
  const { driver, marks, signal } = context
  const { repositories } = await listRepositories(driver)
  const look = (name: RepoName) => findUses(context, name, (digest) => marks.blobs.add(digest))
  for await (const _ of mapOrdered(repositories, walkWidth, look)) signal?.throwIfAborted()
  return new Set(batch.filter(({ digest }) => !marks.blobs.has(digest)))
}

/** Reports every blob that a repository uses, without reading again the manifests that were followed. */
async function findUses(
  { driver, marks }: MarkContext,
  name: RepoName,
  onUse: (digest: Digest) => void,
): Promise<void> {
  for (const digest of await digestsIn(driver, layers(name))) {
    onUse(await targetOf(driver, layerLink(name, digest), digest))
  }
  for (const digest of await digestsIn(driver, revisions(name))) {
    const target = await targetOf(driver, revisionLink(name, digest), digest)
    onUse(digest)
    onUse(target)
    if (marks.followed.has(digest)) continue
    const { isKnown, blobs, manifests } = await readReferences(
      driver,
      target,
      revisionMediaType(name, target),
    )
    for (const reference of [...blobs, ...manifests]) onUse(reference)
    if (isKnown) marks.followed.add(digest)
  }
}

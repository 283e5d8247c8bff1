import { createHash } from 'node:crypto'
import type { Digest } from '../../lib/digest.ts'
import { mapOrdered } from '../../lib/map-ordered.ts'
import type { StorageDriver, StoredStat } from '../../storage/driver.ts'
import { blobData, blobFolder } from '../../storage/layout.ts'
import { algorithmOf, digestFile } from '../digester.ts'
import { walkBlobs, walkWidth } from '../store-walk.ts'
import type { CheckContext, Finding, ProblemKind } from './finding.ts'
import { attempt, attemptingLister, isOld } from './finding.ts'

/** Blobs read together: hashing keeps one core busy already. */
const rehashWidth = 2

/** Looks at every blob, and on request at every byte of it. What it finds comes folder by folder. */
export async function* checkBlobs(context: CheckContext): AsyncGenerator<readonly Finding[]> {
  for await (const { digests } of walkBlobs(attemptingLister(context))) {
    const check = (digest: Digest) => attempt(context, () => checkBlob(context, digest), undefined)
    const width = context.rehash ? rehashWidth : walkWidth
    const findings = await Array.fromAsync(mapOrdered(digests, width, check))
    yield findings.filter((finding) => finding !== undefined)
  }
}

async function checkBlob(context: CheckContext, digest: Digest): Promise<Finding | undefined> {
  const { driver, rehash, counts } = context
  const stat = await driver.stat(blobData(digest))
  if (stat === undefined) return await checkFolder(context, digest)
  const isTorn = stat.size === 0 && digest !== emptyDigest(digest)
  const isWrong = !isTorn && rehash && (await isMismatch(driver, digest))
  counts.blobs += 1
  counts.bytes += stat.size
  context.onProgress(counts)
  if (isTorn) return badBlob(context, digest, { kind: 'blob-torn', stat })
  if (isWrong) return badBlob(context, digest, { kind: 'blob-mismatch', stat })
  return undefined
}

async function checkFolder(context: CheckContext, digest: Digest): Promise<Finding | undefined> {
  const path = blobFolder(digest)
  if (!(await isOld(context, path))) return undefined
  return {
    problem: { kind: 'blob-empty-folder', path, digest },
    // Should a push put its bytes there now, the folder is not empty, and stays.
    remedy: { announced: [], mend: () => context.driver.removeEmpty(path) },
  }
}

/**
 * The finding about a blob whose content is of no use. The remedy removes it: clients are then told that
 * it is missing, and the next push brings it back.
 */
export function badBlob(
  { driver, bad }: CheckContext,
  digest: Digest,
  { kind, stat: before }: { readonly kind: ProblemKind; readonly stat: StoredStat },
): Finding {
  bad.add(digest)
  const mend = async (): Promise<boolean> => {
    const stat = await driver.stat(blobData(digest))
    const isSame = stat?.size === before.size && stat.modifiedAt === before.modifiedAt
    if (isSame) await driver.remove(blobFolder(digest), { durable: true })
    // What is there from now on was pushed meanwhile.
    bad.delete(digest)
    return true
  }
  return {
    problem: {
      ...{ kind, path: blobData(digest), digest, size: before.size },
      detail: 'push the images that use it again',
    },
    remedy: { announced: [blobFolder(digest)], mend },
  }
}

async function isMismatch(driver: StorageDriver, digest: Digest): Promise<boolean> {
  const actual = await digestFile(driver, blobData(digest), algorithmOf(digest))
  return actual !== undefined && actual !== digest
}

function emptyDigest(like: Digest): string {
  const algorithm = algorithmOf(like)
  return `${algorithm}:${createHash(algorithm).digest('hex')}`
}

import type { ByteSource } from '../../lib/byte-source.ts'
import type { Digest } from '../../lib/digest.ts'
import { RegistryError } from '../../lib/errors.ts'
import { createKeyedTakeover } from '../../lib/keyed-takeover.ts'
import type { RepoName, UploadId } from '../../lib/names.ts'
import type { StorageDriver } from '../../storage/driver.ts'
import type { Admission } from '../admission.ts'
import { commitBlob, mountBlob } from '../blob-commit.ts'
import {
  type Algorithm,
  algorithmOf,
  type Digester,
  digestFile,
  parseAlgorithm,
} from '../digester.ts'
import { type Claim, claimUpload, lost } from './claim.ts'
import { isDigestNoted, writeDigestNote } from './digest-note.ts'
import { createUploadDigests } from './digests.ts'
import { takeIn } from './intake.ts'
import {
  findData,
  type Session,
  sessionOf,
  startSession,
  superseded,
  unknownUpload,
} from './session.ts'

export type UploadStatus = {
  readonly id: UploadId
  /** Bytes that have arrived. */
  readonly offset: number
}

/** The bytes of one request of an upload session. */
export type Chunk = {
  readonly source: ByteSource
  /** First and last position that the client claims, from Content-Range. */
  readonly range?: { readonly first: number; readonly last: number }
}

/** Upload sessions; OCI distribution-spec "Pushing blobs". All of their state is on disk. */
export type Uploads = {
  /** Begins a session. `algorithm` is what the final digest will be of; sha256 if not given.
   *  @throws DIGEST_INVALID for an algorithm we do not have, READ_ONLY, STORAGE_FULL */
  start(name: RepoName, options?: { readonly algorithm?: string }): Promise<UploadStatus>
  /** @throws BLOB_UPLOAD_UNKNOWN */
  status(name: RepoName, id: UploadId): Promise<UploadStatus>
  /**
   * Appends a chunk; resolves when it is durable. Before the first byte is taken `accept` is called.
   * If the sender breaks off, what arrived is kept and this rejects with the source's error.
   * @throws BLOB_UPLOAD_UNKNOWN; RANGE_INVALID (detail `{offset}`) for a chunk out of order, of which
   *   nothing is taken; SIZE_INVALID when the chunk is not as long as its range, and nothing is kept
   */
  append(name: RepoName, id: UploadId, chunk: Chunk, accept: () => void): Promise<UploadStatus>
  /**
   * Appends the last chunk, if any, checks the digest of the whole and makes it a blob of the
   * repository; resolves when that is durable. After a wrong digest the session is gone.
   * @throws as `append`; DIGEST_MISMATCH, DIGEST_INVALID
   */
  finish(
    name: RepoName,
    id: UploadId,
    last: { readonly digest: Digest; readonly chunk?: Chunk },
    accept: () => void,
  ): Promise<void>
  /** Ends a session and forgets its bytes. @throws BLOB_UPLOAD_UNKNOWN */
  cancel(name: RepoName, id: UploadId): Promise<void>
  /**
   * Makes a blob of `from`, or of any repository, a blob of this one too, without moving bytes;
   * OCI distribution-spec "Mounting a blob from another repository". False when there is none.
   * @throws READ_ONLY
   */
  mount(name: RepoName, digest: Digest, from: RepoName | undefined): Promise<boolean>
}

export type UploadsOptions = { readonly driver: StorageDriver; readonly admission: Admission }

export function createUploads({ driver, admission }: UploadsOptions): Uploads {
  const digests = createUploadDigests(driver)
  const takeover = createKeyedTakeover(superseded)

  /** Runs `work` as the only one that writes to the session; when it fails, what has arrived stays. */
  const holding = <T>(
    session: Session,
    wanted: Algorithm | undefined,
    work: (held: Held) => Promise<T>,
  ): Promise<T> =>
    takeover.run(session.folder, async (letGo) => {
      letGo.throwIfAborted()
      const claim = await claimUpload(driver, session)
      let digester: Digester | undefined
      try {
        digester = await digests.recall(session, claim, wanted)
        return await work({ claim, digester, letGo })
      } catch (error) {
        // What failed first says more than that, after it, the file was not there any more either.
        await digests.release(session, claim, digester).catch(() => {})
        throw error
      }
    })

  return {
    async start(name, { algorithm = 'sha256' } = {}) {
      const known = parseAlgorithm(algorithm)
      await admission.upload()
      const session = await startSession(driver, name)
      digests.begin(session, known)
      return { id: session.id, offset: 0 }
    },
    async status(name, id) {
      const { size } = await findData(driver, sessionOf(name, id))
      return { id, offset: size }
    },
    async append(name, id, chunk, accept) {
      const session = sessionOf(name, id)
      return await holding(session, undefined, async (held) => {
        await takeChunk(held, chunk, accept)
        await held.claim.writer.sync()
        await noteDigest(driver, session, held).catch(() => {})
        const offset = held.claim.writer.size
        await digests.release(session, held.claim, held.digester)
        return { id, offset }
      })
    },
    async finish(name, id, { digest, chunk }, accept) {
      const session = sessionOf(name, id)
      const algorithm = algorithmOf(digest)
      await holding(session, algorithm, async (held) => {
        if (chunk !== undefined) await takeChunk(held, chunk, accept)
        await verify(driver, session, held, digest)
        await held.claim.writer.syncContent()
        await held.claim.close()
        await commitBlob(driver, { name, digest, session, data: held.claim.path })
      })
    },
    async cancel(name, id) {
      const session = sessionOf(name, id)
      await takeover.run(session.folder, async () => {
        digests.forget(session)
        if (!(await driver.remove(session.folder, { durable: false }))) throw unknownUpload(id)
      })
    },
    async mount(name, digest, from) {
      await admission.write()
      return await mountBlob(driver, { name, digest, from })
    },
  }
}

type Held = {
  readonly claim: Claim
  readonly digester: Digester | undefined
  readonly letGo: AbortSignal
}

/** Appends the bytes of one request. @throws RANGE_INVALID, SIZE_INVALID and what the source rejects with */
async function takeChunk(
  { claim: { writer }, digester, letGo }: Held,
  { source, range }: Chunk,
  accept: () => void,
): Promise<void> {
  const before = writer.size
  // OCI distribution-spec "Pushing a blob in chunks": out of order is 416 Requested Range Not Satisfiable.
  if (range !== undefined && range.first !== before)
    throw new RegistryError('RANGE_INVALID', { offset: before })
  const most = range === undefined ? Number.POSITIVE_INFINITY : range.last - range.first + 1
  accept()
  const received = await takeIn({ source, writer, digester, most, letGo })
  if (range === undefined || received === most) return
  await writer.truncate(before)
  throw new RegistryError('SIZE_INVALID', { offset: before })
}

/** The digest of the claimed bytes, undefined unless they all were seen on their way. */
function seenDigest({ claim, digester }: Pick<Held, 'claim' | 'digester'>): Digest | undefined {
  return digester?.offset === claim.writer.size ? digester.digest() : undefined
}

/** For the process that ends the upload, if that is another. */
async function noteDigest(driver: StorageDriver, session: Session, held: Held): Promise<void> {
  const digest = seenDigest(held)
  if (digest !== undefined)
    await writeDigestNote(driver, session, { path: held.claim.path, digest })
}

/** Checks that the claimed bytes are what the digest says; else the session is gone. @throws DIGEST_MISMATCH */
async function verify(
  driver: StorageDriver,
  session: Session,
  { claim, digester }: Held,
  digest: Digest,
): Promise<void> {
  const seen = seenDigest({ claim, digester })
  const { path } = claim
  if (seen === undefined && (await isDigestNoted(driver, session, { path, digest }))) return
  const actual = seen ?? (await digestFile(driver, path, algorithmOf(digest)))
  if (actual === digest) return
  // Only who still holds it may end the session of whoever has taken it over.
  if (!(await driver.remove(claim.path, { durable: false }))) throw await lost(driver, session)
  await driver.remove(session.folder, { durable: false })
  throw new RegistryError('DIGEST_MISMATCH', { digest, actual })
}

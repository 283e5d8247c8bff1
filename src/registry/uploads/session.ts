import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { RegistryError } from '../../lib/errors.ts'
import type { RepoName, UploadId } from '../../lib/names.ts'
import type { StorageDriver, StoragePath } from '../../storage/driver.ts'
import { upload, uploadData, uploadDigestNote, uploadStartedAt } from '../../storage/layout.ts'

const pauseMs = 2

/** Where a session keeps its state. */
export type Session = {
  readonly id: UploadId
  readonly folder: StoragePath
  /** What has arrived, while nobody writes to it. */
  readonly data: StoragePath
  readonly startedAt: StoragePath
  /** What the digest of the bytes is; see uploads/digest-note.ts. */
  readonly digestNote: StoragePath
}

const uuid = '[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}'
const sessionId = new RegExp(`^${uuid}$`)
/** What has arrived: free, or claimed by some request. */
const dataName = new RegExp(`^data(?:\\.${uuid})?$`)
/** A copy that a taker makes, or a killed one was making; see uploads/claim.ts. */
const copyName = new RegExp(`^copy\\.${uuid}`)

/** The session with this id. @throws BLOB_UPLOAD_UNKNOWN for what was never an id here, without a look */
export function sessionOf(name: RepoName, id: UploadId): Session {
  if (!sessionId.test(id)) throw unknownUpload(id)
  return {
    id,
    folder: upload(name, id),
    data: uploadData(name, id),
    startedAt: uploadStartedAt(name, id),
    digestNote: uploadDigestNote(name, id),
  }
}

/**
 * Makes a session with nothing in it, as registry:2 does. Not durable: nothing has arrived that could
 * be lost, and the first sync of its bytes makes its folder durable too.
 */
export async function startSession(driver: StorageDriver, name: RepoName): Promise<Session> {
  // The one place where ids come from.
  const session = sessionOf(name, randomUUID() as UploadId)
  const wholeSeconds = new Date().toISOString().slice(0, 19)
  try {
    await createFile(driver, session.startedAt, `${wholeSeconds}Z`)
    await createFile(driver, session.data)
  } catch (error) {
    // Nobody learns the id of what did not fit.
    await driver.remove(session.folder, { durable: false }).catch(() => {})
    throw error
  }
  return session
}

/** Makes a file if there is none of that name. */
export async function createFile(
  driver: StorageDriver,
  path: StoragePath,
  content = '',
): Promise<void> {
  await using writer = await driver.create(path)
  if (content !== '') await writer?.write(Buffer.from(content))
}

/** Where the request `claim` makes its copy, which is nobody's truth. */
export function copiedData(session: Session, claim: string): StoragePath {
  return `${session.folder}/copy.${claim}`
}

/** Where the bytes lie while the request `claim` writes to them. */
export function claimedData(session: Session, claim: string): StoragePath {
  return `${session.data}.${claim}`
}

export type SessionData = {
  readonly path: StoragePath
  readonly size: number
  /** Files that do not count, all older than the answer; see `findData`. */
  readonly void: readonly StoragePath[]
}

/**
 * Finds what has arrived, whether somebody writes to it or not. Of several claimed files the largest
 * counts: processes that were killed in the middle of a takeover leave another.
 * @throws BLOB_UPLOAD_UNKNOWN
 */
export async function findData(driver: StorageDriver, session: Session): Promise<SessionData> {
  for (let hasSeenNone = false; ; ) {
    const free = await driver.stat(session.data)
    if (free !== undefined) return { path: session.data, size: free.size, void: [] }
    const { paths, copies } = (await listFiles(driver, session)) ?? {}
    if (paths === undefined || copies === undefined) throw unknownUpload(session.id)
    // A session has a file from the start, as registry:2's do; without one it is being ended. Not at the
    // first sight: a file that is renamed while its folder is read may be missed.
    if (paths.length === 0 && hasSeenNone) throw unknownUpload(session.id)
    hasSeenNone = paths.length === 0
    const files = await Promise.all(
      paths.map(async (path) => ({ path, size: (await driver.stat(path))?.size ?? -1 })),
    )
    const [largest, ...others] = files.sort(bySize)
    // All were renamed since they were listed: their holders have moved on, so look anew.
    if (largest !== undefined && largest.size >= 0)
      return { ...largest, void: [...others.map(({ path }) => path), ...copies] }
    // Network file systems may go on listing for a while what is gone.
    await sleep(pauseMs)
  }
}

function bySize(
  a: { readonly path: string; readonly size: number },
  b: { readonly path: string; readonly size: number },
): number {
  return b.size - a.size || (a.path < b.path ? 1 : -1)
}

/** The files that hold what has arrived, undefined if there is no such session. */
export async function listData(
  driver: StorageDriver,
  session: Session,
): Promise<readonly StoragePath[] | undefined> {
  return (await listFiles(driver, session))?.paths
}

async function listFiles(driver: StorageDriver, session: Session) {
  const names = ((await driver.list(session.folder)) ?? []).map(({ name }) => name)
  // registry:2 leaves folders of ended sessions behind, which have everything but this.
  if (!names.includes('startedat')) return undefined
  const called = (pattern: RegExp): readonly StoragePath[] =>
    names.filter((name) => pattern.test(name)).map((name) => `${session.folder}/${name}`)
  return { paths: called(dataName), copies: called(copyName) }
}

export function unknownUpload(id: UploadId): RegistryError {
  return new RegistryError('BLOB_UPLOAD_UNKNOWN', { id })
}

/** For a request that may not go on because a newer one does. */
export function superseded(): RegistryError {
  return new RegistryError('BLOB_UPLOAD_INVALID', {
    reason: 'another request has taken over this upload',
  })
}

import { randomUUID } from 'node:crypto'
import type { StorageDriver, StoragePath, StoredWriter } from '../../storage/driver.ts'
import {
  claimedData,
  copiedData,
  findData,
  listData,
  type Session,
  superseded,
  unknownUpload,
} from './session.ts'

/*
 * Of all requests, in any process, one writes to a session's bytes, and there is no lock that a killed
 * process could leave behind: whoever wants to write renames `data` to a name of its own, and back when
 * it is over. Of several renames of one name, one succeeds.
 *
 * If `data` is not there, another request has it: in a process that was killed, or that is busy with a
 * connection which may be dead long since. The newest goes on:
 *   1. rename `data.<theirs>` to `data.<mine>`. One taker succeeds; the old holder finds at its release
 *      that its name is gone, and fails. But it may have the file open still, so
 *   2. copy it, to a name that is nobody's truth (`copy.<mine>`),
 *   3. rename the copy to `data.<mine>`: from here on nobody else can reach these bytes,
 *   4. look whether the session is still there and this is its only truth.
 * Killed after any of these steps, one `data…` is left, and holds everything acknowledged. A copy that a
 * killed taker leaves is as large as the upload, so the next one removes it: any that was there before
 * its step 1 is of somebody who was killed, or who finds at his step 3 or 4 that he has lost the bytes.
 *
 * Why step 4: if D takes `data.B` while B itself is at step 2, then B's step 3 brings `data.B` back.
 * D's rename was before, so B sees D's file in step 4, removes its own and fails; D knows that whatever
 * is called `data.B` is void. If B is killed before it has removed that, two files are left, both with
 * everything acknowledged, and the next taker removes the one that it does not take.
 * Three processes that take over one session in the same instant may all give way, and then there is
 * no session any more: the client is told so, and begins anew.
 * A session that was cancelled or purged while it was copied has lost `startedat`; what the copy brought
 * back is removed again.
 * A cancel or purge beside a holder takes the folder away; the holder fails at its release.
 */

/** The right to write to a session's bytes. */
export type Claim = {
  /** Where the bytes lie; nobody else opens it to write. */
  readonly path: StoragePath
  readonly writer: StoredWriter
  /** Closes the file, which then may be moved elsewhere. */
  close(): Promise<void>
  /** Closes the file and puts it back. @throws BLOB_UPLOAD_UNKNOWN or _INVALID when it was taken away */
  release(): Promise<void>
}

/** Claims the bytes of a session. @throws BLOB_UPLOAD_UNKNOWN */
export async function claimUpload(driver: StorageDriver, session: Session): Promise<Claim> {
  const id = randomUUID()
  const mine = claimedData(session, id)
  const copy = copiedData(session, id)
  while (!(await driver.move(session.data, mine, { durable: false }))) {
    const { path, void: others } = await findData(driver, session)
    if (path === session.data) continue
    if (await takeOver(driver, session, { theirs: path, others, mine, copy })) break
  }
  return open(driver, session, mine)
}

type Takeover = {
  readonly theirs: StoragePath
  /** What was there beside it and did not count. */
  readonly others: readonly StoragePath[]
  readonly mine: StoragePath
  readonly copy: StoragePath
}

/**
 * Takes the bytes from another holder; false if that one has let go or somebody was faster.
 * @throws BLOB_UPLOAD_INVALID or _UNKNOWN when somebody takes them from us meanwhile
 */
async function takeOver(
  driver: StorageDriver,
  session: Session,
  { theirs, others, mine, copy }: Takeover,
): Promise<boolean> {
  if (!(await driver.move(theirs, mine, { durable: false }))) return false
  const isOurs =
    (await driver.copy(mine, copy)) && (await driver.move(copy, mine, { durable: false }))
  if (!isOurs) throw await lost(driver, session)
  const voided = [theirs, ...others]
  for (const path of voided) await driver.remove(path, { durable: false })
  const files = await listData(driver, session)
  if (files === undefined) {
    await driver.remove(session.folder, { durable: false })
    throw unknownUpload(session.id)
  }
  if (files.every((path) => path === mine || voided.includes(path))) return true
  await driver.remove(mine, { durable: false })
  throw superseded()
}

async function open(driver: StorageDriver, session: Session, mine: StoragePath): Promise<Claim> {
  const putBack = (): Promise<boolean> => driver.move(mine, session.data, { durable: false })
  const writer = await driver.append(mine).catch(async (error) => {
    await putBack()
    throw error
  })
  if (writer === undefined) throw await lost(driver, session)
  let isOpen = true
  const close = async (): Promise<void> => {
    if (!isOpen) return
    isOpen = false
    await writer[Symbol.asyncDispose]()
  }
  return {
    path: mine,
    writer,
    close,
    async release() {
      await close()
      if (!(await putBack())) throw await lost(driver, session)
    },
  }
}

/** Why a claimed file is not there any more. */
export async function lost(driver: StorageDriver, session: Session): Promise<Error> {
  const isThere = (await driver.stat(session.startedAt)) !== undefined
  return isThere ? superseded() : unknownUpload(session.id)
}

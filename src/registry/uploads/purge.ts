import type { Logger } from 'pino'
import type { RepoName } from '../../lib/names.ts'
import type { StorageDriver, StoragePath } from '../../storage/driver.ts'
import { uploads } from '../../storage/layout.ts'
import { foldersIn, lastMovement, listRepositories } from '../store-walk.ts'

export type PurgeParts = {
  readonly driver: StorageDriver
  readonly log: Logger
  /** Idle time after which a session is removed. */
  readonly ageMs: number
  readonly dryRun: boolean
  readonly signal?: AbortSignal | undefined
}

export type PurgeReport = { readonly sessions: number; readonly bytes: number }

/**
 * Removes upload sessions in which nothing has moved for `ageMs`, by the newest time of anything in
 * them: an upload that a client goes on with has just been written to. registry:2 leaves folders of ended
 * uploads behind which its own purge never removes, as they have no `startedat`; they go too.
 */
export async function purgeUploads(parts: PurgeParts): Promise<PurgeReport> {
  const { driver, log, dryRun, signal } = parts
  let sessions = 0
  let bytes = 0
  for (const repository of (await listRepositories(driver)).repositories) {
    signal?.throwIfAborted()
    for (const session of await idleSessions(driver, repository, Date.now() - parts.ageMs)) {
      // An append meanwhile would find its session gone, as any client does that comes this late.
      if (!dryRun && !(await driver.remove(session.path, { durable: false }))) continue
      sessions += 1
      bytes += session.bytes
      const { path, bytes: size, modifiedAt } = session
      log.info(
        { path, size, idleSince: new Date(modifiedAt).toISOString(), dryRun },
        'upload session purged',
      )
    }
  }
  return { sessions, bytes }
}

export type IdleSession = {
  readonly path: StoragePath
  readonly modifiedAt: number
  readonly bytes: number
}

/** The upload sessions of a repository in which nothing has moved since `idleSince`. */
export async function idleSessions(
  driver: StorageDriver,
  name: RepoName,
  idleSince: number,
): Promise<IdleSession[]> {
  const idle: IdleSession[] = []
  for (const id of await foldersIn(driver, uploads(name))) {
    const path = `${uploads(name)}/${id}`
    const movement = await lastMovement(driver, path)
    if (movement !== undefined && movement.modifiedAt < idleSince) idle.push({ path, ...movement })
  }
  return idle
}

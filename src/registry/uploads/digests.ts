import { createBoundedMap } from '../../lib/bounded-map.ts'
import type { StorageDriver } from '../../storage/driver.ts'
import { type Algorithm, createDigester, type Digester } from '../digester.ts'
import type { Claim } from './claim.ts'
import type { Session } from './session.ts'

/** The running hashes of sessions between their requests. */
export type UploadDigests = {
  /** Notes what the final digest of a new session will be of. */
  begin(session: Session, algorithm: Algorithm): void
  /**
   * A digester that has seen exactly what is in the claimed file; undefined if there is none, or not of
   * the algorithm that is `wanted`.
   */
  recall(session: Session, claim: Claim, wanted?: Algorithm): Promise<Digester | undefined>
  /** Gives a claimed file back, and keeps its digester if that still fits. @throws as the release */
  release(session: Session, claim: Claim, digester: Digester | undefined): Promise<void>
  forget(session: Session): void
}

type Kept = {
  readonly digester: Digester
  /** Of the file when it was given back; undefined for one that was empty. */
  readonly modifiedAt: number | undefined
}

const maxSessions = 1000
const maxIdleMs = 3_600_000

/** Remembers digesters in this process only: after a restart, or in another process, there is none. */
export function createUploadDigests(driver: StorageDriver): UploadDigests {
  const kept = createBoundedMap<string, Kept>({ max: maxSessions, ttlMs: maxIdleMs })

  // Other processes append too. Bytes that are there are never changed, so the size tells; the time
  // besides is for files that a killed process and two takers at one moment left in disorder.
  const fits = async ({ digester, modifiedAt }: Kept, claim: Claim): Promise<boolean> =>
    digester.offset === claim.writer.size &&
    (await driver.stat(claim.path))?.modifiedAt === modifiedAt

  return {
    begin(session, algorithm) {
      if (algorithm !== 'sha256')
        kept.set(session.folder, { digester: createDigester(algorithm), modifiedAt: undefined })
    },
    async recall(session, claim, wanted) {
      const memory = kept.get(session.folder)
      kept.delete(session.folder)
      const algorithm = wanted ?? memory?.digester.algorithm ?? 'sha256'
      if (claim.writer.size === 0) return createDigester(algorithm)
      if (memory?.digester.algorithm !== algorithm) return undefined
      return (await fits(memory, claim)) ? memory.digester : undefined
    },
    async release(session, claim, digester) {
      const isWhole = digester?.offset === claim.writer.size
      await claim.close()
      const stat = isWhole ? await driver.stat(claim.path) : undefined
      await claim.release()
      if (digester !== undefined && stat !== undefined)
        kept.set(session.folder, { digester, modifiedAt: stat.modifiedAt })
    },
    forget: (session) => kept.delete(session.folder),
  }
}

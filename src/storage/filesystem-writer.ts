import type { BigIntStats } from 'node:fs'
import type { FileHandle } from 'node:fs/promises'
import type { StoredWriter } from './driver.ts'
import { withRoom } from './filesystem-errors.ts'

export type WriterOptions = {
  /** Opened to append; the writer closes it. */
  readonly file: FileHandle
  /** What was in it when it was opened. */
  readonly stats: BigIntStats
  /** Makes the name of the file survive power loss. */
  readonly persistName: (stats: BigIntStats) => Promise<void>
}

/**
 * What is written goes to the disk in the background in steps of this size, so that little is left to
 * wait for at the end: one stream of 256 MiB is stored a tenth sooner.
 */
const flushBytes = 32 * 1024 * 1024
/** Each keeps one of the threads through which every pull goes too; on a slow disk they would keep all. */
const maxFlushes = 2
let flushes = 0

/** Appends all of `bytes` to a file, and says after each step how many bytes it was. */
export async function writeAll(
  file: FileHandle,
  bytes: Uint8Array,
  onWritten: (count: number) => void = () => {},
): Promise<void> {
  for (let written = 0; written < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, written, bytes.length - written)
    written += bytesWritten
    onWritten(bytesWritten)
  }
}

/**
 * Appends to an open file. The system puts every write at the end, wherever that is: if somebody else
 * appends too, nothing that was written is overwritten, and the file is longer than `size` says.
 */
export function createWriter({ file, stats, persistName }: WriterOptions): StoredWriter {
  let size = Number(stats.size)
  let synced = size
  let isNamed = false
  let flushing: Promise<void> | undefined
  /** Why a flush failed, until what is in doubt is gone. */
  let failure: { readonly error: unknown } | undefined

  /** Brings what is there to the disk, without the time of its last change. Never rejects. */
  const flush = async (): Promise<void> => {
    const reached = size
    flushes += 1
    try {
      await file.datasync()
      synced = reached
    } catch (error) {
      failure = { error }
    }
    flushes -= 1
    flushing = undefined
  }

  const write = async (bytes: Uint8Array): Promise<void> => {
    if (failure !== undefined) throw failure.error
    try {
      await writeAll(file, bytes, (count) => {
        size += count
      })
    } catch (error) {
      // Whatever the failed step left there.
      size = Number((await file.stat({ bigint: true })).size)
      throw error
    }
    if (size - synced >= flushBytes && flushes < maxFlushes) flushing ??= flush()
  }

  const truncate = async (to: number): Promise<void> => {
    if (!(to >= 0 && to <= size)) throw new TypeError(`${size} bytes cannot be cut to ${to}`)
    await flushing
    await file.truncate(to)
    size = to
    synced = Math.min(synced, to)
  }

  /**
   * The system forgets what it could not bring to the disk and reports that once: the next sync, also of
   * somebody else, would succeed over a hole. So what is in doubt goes.
   */
  const dropDoubtful = async (): Promise<void> => {
    await truncate(Math.min(synced, size)).then(
      () => {
        failure = undefined
      },
      () => {},
    )
  }

  const syncContent = async (): Promise<void> => {
    await flushing
    const reached = size
    try {
      if (failure !== undefined) throw failure.error
      await file.sync()
    } catch (error) {
      failure ??= { error }
      await dropDoubtful()
      throw error
    }
    synced = reached
  }

  const sync = async (): Promise<void> => {
    await syncContent()
    if (isNamed) return
    await persistName(stats)
    isNamed = true
  }

  return {
    get size() {
      return size
    },
    write: (bytes) => withRoom(write(bytes)),
    sync: () => withRoom(sync()),
    syncContent: () => withRoom(syncContent()),
    truncate: (to) => withRoom(truncate(to)),
    async [Symbol.asyncDispose]() {
      await flushing
      if (failure !== undefined) await dropDoubtful()
      await file.close()
    },
  }
}

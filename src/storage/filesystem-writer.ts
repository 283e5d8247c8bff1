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

  const write = async (bytes: Uint8Array): Promise<void> => {
    try {
      await writeAll(file, bytes, (count) => {
        size += count
      })
    } catch (error) {
      // Whatever the failed step left there.
      size = Number((await file.stat({ bigint: true })).size)
      throw error
    }
  }

  const truncate = async (to: number): Promise<void> => {
    if (!(to >= 0 && to <= size)) throw new TypeError(`${size} bytes cannot be cut to ${to}`)
    await file.truncate(to)
    size = to
    synced = Math.min(synced, to)
  }

  const syncContent = async (): Promise<void> => {
    const reached = size
    try {
      await file.sync()
    } catch (error) {
      // The system forgets what it could not bring to the disk and reports that once: the next sync
      // would succeed over a hole. So what is in doubt goes.
      await truncate(Math.min(synced, size)).catch(() => {})
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
    [Symbol.asyncDispose]: () => file.close(),
  }
}

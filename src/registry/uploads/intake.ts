import type { ByteSource } from '../../lib/byte-source.ts'
import { giveLargeBuffer, takeLargeBuffer } from '../../lib/large-buffers.ts'
import type { StoredWriter } from '../../storage/driver.ts'
import type { Digester } from '../digester.ts'

export type Intake = {
  readonly source: ByteSource
  readonly writer: Pick<StoredWriter, 'write'>
  /** Sees every byte that is written; undefined to hash later. */
  readonly digester: Digester | undefined
  /** Most bytes to write. */
  readonly most: number
  /** Ends the intake; what has arrived is written. */
  readonly letGo: AbortSignal
}

/**
 * Writes what comes from a source; resolves with the number of bytes, or with more than `most` as soon
 * as there are too many. Rejects when the source does, the disk does or it shall let go; then all that
 * had arrived before is written, unless it was the disk.
 *
 * Two buffers take turns, if one does not hold it all: while one is written, it is hashed and the other
 * fills. To hash on a thread of its own was at best 5 % faster on two cores, for 5 % more CPU and 30 MiB:
 * not worth it.
 */
export async function takeIn({ source, writer, digester, most, letGo }: Intake): Promise<number> {
  let received = 0
  let current = takeLargeBuffer(source.length)
  let other: Buffer | undefined
  let filling: Promise<number> | undefined
  let writing = Promise.resolve()
  try {
    for (;;) {
      letGo.throwIfAborted()
      filling = source.fill(current)
      const count = await firstOutcome(filling, writing, letGo)
      filling = undefined
      received += count
      if (count === 0 || received > most) break
      await writing
      const bytes = current.subarray(0, count)
      writing = writer.write(bytes)
      digester?.update(bytes)
      const next = other ?? takeLargeBuffer(leftOf(source, received))
      ;[current, other] = [next, current]
    }
    await writing
    return received
  } finally {
    // A buffer that is still being written or filled belongs to whoever does that.
    await writing.catch(() => {})
    if (other !== undefined) giveLargeBuffer(other)
    giveBackAfter(filling, current)
  }
}

/** Bytes that are still to come; undefined if nobody knows, or more came than were announced. */
function leftOf({ length }: ByteSource, received: number): number | undefined {
  return length === undefined || received > length ? undefined : length - received
}

/**
 * Waits for the source, but not when the disk has failed or the upload is wanted elsewhere: a client
 * may stand still for long. Not `Promise.race`: the signal outlives the steps, and each would leave a
 * reaction behind.
 */
function firstOutcome(
  filling: Promise<number>,
  writing: Promise<void>,
  letGo: AbortSignal,
): Promise<number> {
  return new Promise((resolve, reject) => {
    letGo.onabort = () => reject(letGo.reason)
    filling.then(resolve, reject)
    writing.catch(reject)
  })
}

function giveBackAfter(filling: Promise<number> | undefined, buffer: Buffer): void {
  const giveBack = (): void => giveLargeBuffer(buffer)
  if (filling === undefined) giveBack()
  else filling.then(giveBack, giveBack)
}

import type { ReadBuffers } from './read-buffers.ts'

export type RecordPacker = {
  /** Takes the first `length` bytes of the small buffer. */
  add(length: number): void
  /** Delivers what was packed. */
  flush(): void
  /** Forgets what was packed. */
  drop(): void
  /** True while there is room for what may still come after a pause. */
  readonly hasRoom: boolean
}

type PackerOptions = {
  readonly buffers: ReadBuffers
  /** Bytes of body that are still to come; asked with nothing packed. */
  readonly expectedBytes: () => number
  /** Gets the first `length` bytes of one of `buffers`, in the order in which they came. */
  readonly deliver: (buffer: Buffer, length: number) => void
}

/**
 * What TLS may deliver once reading was stopped: the records of the last read from the kernel, 64 KiB,
 * and the one whose beginning came before it.
 */
const burstBytes = 80 * 1024

/**
 * Packs TLS records into large buffers. TLS decrypts 16 KiB at a time, and goes on after a pause until
 * it has delivered all it had read; so it must not read into memory that others may hold by then. It
 * always reads into the small buffer, and that is copied: cheap, beside the client's TLS being given
 * hundreds of KiB at once.
 *
 * A large buffer is delivered when it is full, or else at the end of the turn of the event loop.
 */
export function createRecordPacker({
  buffers,
  expectedBytes,
  deliver,
}: PackerOptions): RecordPacker {
  const { small } = buffers
  let large: Buffer | undefined
  let end = 0
  let scheduled: NodeJS.Immediate | undefined

  const flush = (): void => {
    const packed = large
    const length = end
    drop()
    if (packed !== undefined) deliver(packed, length)
  }
  /** Packing pays when more than one record is expected. */
  const takeLarge = (): Buffer | undefined => {
    const expected = expectedBytes()
    return expected > small.length ? buffers.takeFree(expected) : undefined
  }
  const drop = (): void => {
    clearImmediate(scheduled)
    scheduled = undefined
    large = undefined
    end = 0
  }
  return {
    add(length) {
      let at = 0
      while (at < length) {
        large ??= takeLarge()
        if (large === undefined) break
        const copied = small.copy(large, end, at, length)
        at += copied
        end += copied
        if (end === large.length) flush()
        else scheduled ??= setImmediate(flush)
      }
      if (at < length) deliver(small.subarray(at), length - at)
    },
    flush,
    drop,
    get hasRoom() {
      return buffers.freeBytes - end >= burstBytes
    },
  }
}

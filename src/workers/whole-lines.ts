const newline = 0x0a
/** A line that is longer than any of ours is passed on in pieces. */
const maxLineBytes = 1024 * 1024

export type WholeLines = {
  push(chunk: Buffer): void
  /** Nothing more will come: a last line without an end gets one. */
  end(): void
}

/**
 * Cuts what arrives in chunks where a line ends, so that the lines of several writers can be put in
 * one output. Looks for the last end in a chunk only: what one line costs counts.
 */
export function createWholeLines(write: (lines: string) => void): WholeLines {
  let rest: Buffer[] = []
  let restBytes = 0

  const release = (last: Buffer, ending = ''): void => {
    write(Buffer.concat([...rest, last]).toString() + ending)
    rest = []
    restBytes = 0
  }
  const keep = (chunk: Buffer): void => {
    if (chunk.length === 0) return
    rest.push(chunk)
    restBytes += chunk.length
    if (restBytes > maxLineBytes) release(Buffer.alloc(0), '\n')
  }

  return {
    push(chunk) {
      const end = chunk.lastIndexOf(newline) + 1
      if (end > 0) release(chunk.subarray(0, end))
      keep(chunk.subarray(end))
    },
    end() {
      if (restBytes > 0) release(Buffer.alloc(0), '\n')
    },
  }
}

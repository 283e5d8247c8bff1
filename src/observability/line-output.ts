import { write, writeSync } from 'node:fs'

export type LineOutput = {
  /** Takes one line or several, each with its end. */
  write(lines: string): void
  /** Calls back once every line has left, or nobody will read it. */
  flush(callback: () => void): void
  /**
   * Writes now what waits, as the last act of the process: until a reader has stood still for a second,
   * and for ten in all. A descriptor that is not `unblocked` may keep it as long as its reader likes.
   */
  writeRest(): void
}

export type LineOutputOptions = {
  /** Lines that would wait beyond this are dropped; about so many, since a letter counts as one byte. */
  readonly maxWaitingBytes: number
  /** The descriptor never keeps its writer, as a file or a pipe opened with O_NONBLOCK. */
  readonly unblocked?: boolean
  /** Told how many were dropped, once lines are written again. */
  readonly onDropped: (count: number) => void
}

/**
 * Lines wait this long for others to leave with them, up to so many bytes: a system call for each, and
 * waking the reader for each, took as long as answering a small request. A process that is killed (SIGKILL)
 * takes those of the last ten milliseconds with it.
 */
const gatherMs = 10
const gatherBytes = 64 * 1024
/** Time until a pipe that was full is tried again, doubled each time: one that is being read has room soon. */
const firstRetryMs = 1
const lastRetryMs = 100
/** How long `writeRest` tries a pipe that stays full, and how long one that is read slowly. */
const exitStallMs = 1_000
const exitMs = 10_000
const newline = 0x0a
const nothing = Buffer.alloc(0)

/**
 * Writes lines to a descriptor beside the event loop, in order, a few milliseconds after they came.
 *
 * pino's own destination writes the rest at an exit in a loop that only success ends, so that a process
 * whose reader had gone never ended; and it makes a fault of a full disk, which stopped the server.
 * Here a reader that has gone is the end of the output, and what a full disk refuses is dropped.
 */
export function createLineOutput(
  fd: number,
  { maxWaitingBytes, onDropped, unblocked = false }: LineOutputOptions,
): LineOutput {
  let waiting: string[] = []
  let waitingBytes = 0
  /** What is being written, or is to be tried again. */
  let current: Buffer = nothing
  let isWriting = false
  let gathering: NodeJS.Timeout | undefined
  let retry: NodeJS.Timeout | undefined
  let retryMs = firstRetryMs
  let isGone = false
  let isRefused = false
  /** The last byte that was written is not the end of a line. */
  let isInLine = false
  let dropped = 0
  let callbacks: (() => void)[] = []

  const hasNext = (): boolean => {
    if (current.length > 0) return true
    if (waiting.length === 0) return false
    // After a line of which the rest was dropped; two in one would be none.
    current = Buffer.from((isInLine ? '\n' : '') + waiting.join(''))
    waiting = []
    waitingBytes = 0
    return true
  }
  const take = (bytes: number): void => {
    if (bytes > 0) isInLine = current[bytes - 1] !== newline
    current = current.subarray(bytes)
    retryMs = firstRetryMs
  }
  const settle = (): void => {
    if (dropped > 0 && !isRefused) {
      const count = dropped
      dropped = 0
      onDropped(count)
      // It may have written a line, which settles the rest.
      if (isWriting || retry !== undefined) return
    }
    const settled = callbacks
    callbacks = []
    for (const callback of settled) callback()
  }
  const proceed = (): void => {
    clearTimeout(gathering)
    gathering = undefined
    while (!isWriting && retry === undefined) {
      if (isGone || !hasNext()) {
        settle()
        return
      }
      if (unblocked) writeNow()
      else {
        isWriting = true
        write(fd, current, 0, current.length, null, onWritten)
      }
    }
  }
  const writeNow = (): void => {
    try {
      take(writeSync(fd, current))
      isRefused = false
    } catch (error) {
      onRefused(error)
    }
  }
  const onWritten = (error: NodeJS.ErrnoException | null, bytes: number): void => {
    isWriting = false
    isRefused = false
    if (error === null) take(bytes)
    else onRefused(error)
    if (current.length > 0 || callbacks.length > 0) proceed()
    else gather()
  }
  const gather = (): void => {
    if (waitingBytes === 0 || waitingBytes >= gatherBytes) proceed()
    else gathering ??= setTimeout(proceed, gatherMs).unref()
  }
  const onRefused = (error: unknown): void => {
    isRefused = !hasCode(error, 'EAGAIN')
    if (isRefused) giveUp(error)
    else retry = setTimeout(tryAgain, nextWait()).unref()
  }
  const nextWait = (): number => {
    const wait = retryMs
    retryMs = Math.min(2 * retryMs, lastRetryMs)
    return wait
  }
  const tryAgain = (): void => {
    retry = undefined
    proceed()
  }
  const giveUp = (error: unknown): void => {
    isGone = hasCode(error, 'EPIPE')
    // A line end at the front is that of a line before, which has no rest but this.
    dropped += current.subarray(current[0] === newline ? 1 : 0).filter(isNewline).length
    current = nothing
  }

  return {
    write(lines) {
      if (isGone) return
      if (current.length + waitingBytes + lines.length > maxWaitingBytes) {
        dropped += lines.split('\n').length - 1
        return
      }
      waiting.push(lines)
      waitingBytes += lines.length
      gather()
    },
    flush(callback) {
      callbacks.push(callback)
      proceed()
    },
    writeRest() {
      if (isGone) return
      // A thread is about to write it, or has done so.
      if (isWriting) current = nothing
      const end = performance.now() + exitMs
      let stallEnd = 0
      while (hasNext()) {
        try {
          take(writeSync(fd, current))
          stallEnd = 0
        } catch (error) {
          const now = performance.now()
          stallEnd ||= Math.min(now + exitStallMs, end)
          if (!hasCode(error, 'EAGAIN') || now >= stallEnd) return
          Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, nextWait())
        }
      }
    },
  }
}

function isNewline(byte: number): boolean {
  return byte === newline
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}

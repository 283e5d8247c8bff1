import { write, writeSync } from 'node:fs'
import type { DestinationStream } from 'pino'

export type LineOutput = DestinationStream & {
  /** Calls back once every line has left, or nobody will read it. */
  flush(callback: () => void): void
  /** Writes now what waits, as the last act of the process. Takes a second at most. */
  writeRest(): void
}

export type LineOutputOptions = {
  /** Lines that would wait beyond this are dropped. */
  readonly maxWaitingBytes: number
  /** Told how many were dropped, once lines are written again. */
  readonly onDropped: (count: number) => void
}

/** Time until a pipe that was full is tried again. */
const retryMs = 100
/** Tries of `writeRest` at a pipe that stays full. */
const exitTries = 10
const nothing = Buffer.alloc(0)

/**
 * Writes lines to a descriptor beside the event loop: each leaves as soon as those before it have.
 *
 * pino's own destination writes the rest at an exit in a loop that only success ends, so that a process
 * whose reader had gone never ended; and it makes a fault of a full disk, which stopped the server.
 * Here a reader that has gone is the end of the output, and what a full disk refuses is dropped.
 */
export function createLineOutput(
  fd: number,
  { maxWaitingBytes, onDropped }: LineOutputOptions,
): LineOutput {
  let waiting: string[] = []
  let waitingBytes = 0
  /** What is being written, or is to be tried again. */
  let current: Buffer = nothing
  let isWriting = false
  let retry: NodeJS.Timeout | undefined
  let isGone = false
  let isRefused = false
  let dropped = 0
  let callbacks: (() => void)[] = []

  const hasNext = (): boolean => {
    if (current.length > 0) return true
    current = Buffer.from(waiting.join(''))
    waiting = []
    waitingBytes = 0
    return current.length > 0
  }
  const settle = (): void => {
    if (dropped > 0 && !isRefused) {
      onDropped(dropped)
      dropped = 0
    }
    const settled = callbacks
    callbacks = []
    for (const callback of settled) callback()
  }
  const proceed = (): void => {
    if (isWriting || retry !== undefined) return
    if (isGone || !hasNext()) {
      settle()
      return
    }
    isWriting = true
    write(fd, current, 0, current.length, null, onWritten)
  }
  const onWritten = (error: NodeJS.ErrnoException | null, bytes: number): void => {
    isWriting = false
    isRefused = error !== null && !isFull(error)
    if (error === null) current = current.subarray(bytes)
    else if (isFull(error)) retry = setTimeout(tryAgain, retryMs).unref()
    else giveUp(error)
    proceed()
  }
  const tryAgain = (): void => {
    retry = undefined
    proceed()
  }
  const giveUp = (error: NodeJS.ErrnoException): void => {
    isGone = error.code === 'EPIPE'
    dropped += current.toString('latin1').split('\n').length - 1
    current = nothing
  }

  return {
    write(line) {
      if (isGone) return
      if (current.length + waitingBytes + line.length > maxWaitingBytes) {
        dropped += 1
        return
      }
      waiting.push(line)
      waitingBytes += line.length
      proceed()
    },
    flush(callback) {
      callbacks.push(callback)
      proceed()
    },
    writeRest() {
      if (isGone) return
      // A thread is about to write it, or has done so.
      if (isWriting) current = nothing
      for (let left = exitTries; left > 0 && hasNext(); ) {
        try {
          current = current.subarray(writeSync(fd, current))
        } catch (error) {
          if (!isFull(error)) return
          left -= 1
          Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, retryMs)
        }
      }
    },
  }
}

function isFull(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'EAGAIN'
}

import type { ChildProcess } from 'node:child_process'
import cluster, { type Worker } from 'node:cluster'
import { extname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Channel, openChannel } from './channel.ts'
import { processPort } from './process-port.ts'
import type { PrimaryHandlers, WorkerHandlers } from './protocol.ts'
import { createWholeLines } from './whole-lines.ts'

/** How a process ended; `error` says why it never began. */
export type Exit = {
  readonly code: number | null
  readonly signal: string | null
  readonly error?: unknown
}

/** A worker process, from its start on. */
export type WorkerProcess = {
  readonly id: number
  readonly pid: number | undefined
  readonly channel: Channel<WorkerHandlers>
  /** Resolves when it has said that it is leaving. */
  readonly leaving: Promise<void>
  /** Resolves when it has ended, and all that it logged has been passed on. */
  readonly exited: Promise<Exit>
  kill(): void
}

export type ForkOptions = {
  /** Takes what a worker logged, as whole lines. */
  readonly writeLines: (lines: string) => void
  /** Answers what it asks. */
  readonly handlers: Omit<PrimaryHandlers, 'leaving'>
}

/**
 * Returns what starts one worker process after the other.
 *
 * Connections are handed to the worker that is free first: 16 opened one after the other are 8 and 8
 * with two workers, and 7 to 9 each if left to the system (SCHED_NONE). In a burst neither is even. Here
 * the socket that listens is the primary's, and closes with it.
 */
export function createForker({ writeLines, handlers }: ForkOptions): () => WorkerProcess {
  cluster.schedulingPolicy = cluster.SCHED_RR
  cluster.setupPrimary({
    // From the sources this file ends in .ts, in dist in .js; tsc does not rewrite names in strings.
    exec: fileURLToPath(new URL(`../worker${extname(import.meta.filename)}`, import.meta.url)),
    args: [],
    serialization: 'advanced',
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  })
  return () => {
    const worker = cluster.fork()
    const { id, process: child } = worker
    closeWhatIsLost(child)
    const lines = createWholeLines(writeLines)
    child.stdout?.on('data', lines.push).on('end', lines.end)
    const leaving = Promise.withResolvers<void>()
    const channel = openChannel<WorkerHandlers>(processPort(child), {
      ...handlers,
      leaving: () => leaving.resolve(),
    })
    return {
      id,
      pid: child.pid,
      channel,
      leaving: leaving.promise,
      exited: exitOf(worker),
      kill: () => void child.kill('SIGKILL'),
    }
  }
}

/** Resolves when a process has ended, and all that it wrote has been read. */
function exitOf(worker: Worker): Promise<Exit> {
  const { promise, resolve } = Promise.withResolvers<Exit>()
  const { process: child } = worker
  child.once('close', (code, signal) => resolve({ code, signal }))
  worker.on('error', (error) => {
    // It never started, as where no more processes are allowed. Else it lives, or its end follows: what
    // `cluster` could not send it is an error too.
    if (child.pid === undefined) resolve({ code: null, signal: null, error })
  })
  return promise
}

/**
 * A connection that was handed to a process which dies before it takes it is kept open by `cluster`, and
 * its client would wait for ever. One at a time is on its way, the last that was sent. Once answered for
 * it is no longer ours to close: one that a worker does not take, because it drains, goes to another.
 */
function closeWhatIsLost(child: ChildProcess): void {
  // A process that never started is sent nothing.
  const send = child.send?.bind(child) as ((...args: unknown[]) => boolean) | undefined // however it is called
  if (send === undefined) return
  let last: unknown
  child.send = (message: unknown, ...rest: unknown[]) => {
    if (typeof rest[0] === 'object' && rest[0] !== null) last = rest[0]
    return send(message, ...rest)
  }
  // Before the listener of `cluster`, which sends the next one at once.
  child.prependListener('internalMessage', (message: unknown) => {
    if (isAnswer(message)) last = undefined
  })
  child.once('exit', () => {
    if (isHandle(last)) last.close()
  })
}

function isAnswer(message: unknown): boolean {
  return typeof message === 'object' && message !== null && 'ack' in message
}

function isHandle(value: unknown): value is { close(): void } {
  return typeof value === 'object' && value !== null && 'close' in value
}

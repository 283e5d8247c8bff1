import { extname } from 'node:path'
import { Worker } from 'node:worker_threads'
import type { Logger } from 'pino'
import { RegistryError } from '../lib/errors.ts'
import type { Verdict, Verification } from './verifier-worker.ts'

export type VerifierThreads = AsyncDisposable & {
  /** How many threads are at work. */
  readonly working: number
  /**
   * Works it out on a thread of its own, on a second one if that dies.
   * @throws RegistryError UNAVAILABLE when closed meanwhile
   */
  verify(verification: Verification): Promise<Verdict>
}

type ThreadsOptions = {
  /** As many threads as are kept at the ready; the caller asks no more of them at once. */
  size: number
  startWorker: () => Worker
  log: Logger
}

type Task = {
  readonly verification: Verification
  readonly resolve: (verdict: Verdict) => void
  readonly reject: (error: Error) => void
  deaths: number
}

/**
 * Threads that verify one password at a time each. They start with the first verification, one
 * ahead of need; they hold the process only while they work, and one that dies is replaced.
 */
export function createVerifierThreads({ size, startWorker, log }: ThreadsOptions): VerifierThreads {
  const idle = new Set<Worker>()
  const working = new Map<Worker, Task>()
  let isClosed = false

  const start = (): Worker => {
    const worker = startWorker()
    worker.on('message', (verdict: Verdict) => {
      working.get(worker)?.resolve(verdict)
      working.delete(worker)
      idle.add(worker)
      worker.unref()
    })
    worker.on('error', (error) => lost(worker, error))
    worker.on('exit', () => lost(worker))
    worker.unref() // not before: a message listener holds the process again
    return worker
  }

  const assign = (task: Task): void => {
    const [worker = start()] = idle
    idle.delete(worker)
    working.set(worker, task)
    worker.ref()
    worker.postMessage(task.verification)
    // The next login finds a thread that has started already.
    if (idle.size === 0 && working.size < size) idle.add(start())
  }

  /** Called twice for a thread that threw: on its error and on its exit. */
  const lost = (worker: Worker, cause?: Error): void => {
    const task = working.get(worker)
    working.delete(worker)
    idle.delete(worker)
    if (isClosed || task === undefined) return
    task.deaths++
    log.warn({ err: cause, attempts: task.deaths }, 'password verification thread died')
    if (task.deaths < 2) assign(task)
    else task.reject(new Error('the thread that verifies the password died twice', { cause }))
  }

  return {
    get working() {
      return working.size
    },
    // Without what else the caller knows: it would be copied to the thread.
    verify: ({ password, hash }) =>
      new Promise((resolve, reject) => {
        assign({ verification: { password, hash }, resolve, reject, deaths: 0 })
      }),
    async [Symbol.asyncDispose]() {
      isClosed = true
      for (const { reject } of working.values()) reject(new RegistryError('UNAVAILABLE'))
      const workers = [...idle, ...working.keys()]
      // Held again: a process with nothing else to do would end before they have.
      for (const worker of workers) worker.ref()
      await Promise.all(workers.map((worker) => worker.terminate()))
    },
  }
}

/** A new verification thread. */
export function startVerifierWorker(): Worker {
  // From the sources this file ends in .ts, in dist in .js; tsc does not rewrite names in strings.
  const file = new URL(`./verifier-worker${extname(import.meta.filename)}`, import.meta.url)
  // Without the flags of this process: some, as --input-type, are refused beside a file.
  return new Worker(file, { name: 'password-verifier', execArgv: [] })
}

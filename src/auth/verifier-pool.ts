import { availableParallelism } from 'node:os'
import { extname } from 'node:path'
import { Worker } from 'node:worker_threads'
import type { Logger } from 'pino'
import { RegistryError } from '../lib/errors.ts'
import { createVerificationQueue, type Suspicion } from './verification-queue.ts'
import type { Verdict, Verification } from './verifier-worker.ts'

/** A password to check, and who sent it. */
export type Login = Verification & { readonly client: string; readonly user: string }

export type VerifierPool = AsyncDisposable & {
  /**
   * True when the password matches the hash.
   * @throws RegistryError TOOMANYREQUESTS when too many wait and this one would be served last
   */
  verify(login: Login): Promise<boolean>
}

type PoolOptions = {
  log: Logger
  /** Who goes first among those that wait; asked again at each turn. */
  suspicion: (login: Login) => Suspicion
  size?: number
  maxWaiting?: number
  startWorker?: () => Worker
  /** Milliseconds on a clock that never goes back. */
  now?: () => number
}

type Job = {
  readonly login: Login
  readonly resolve: (matches: boolean) => void
  readonly reject: (error: Error) => void
  attempts: number
}

/** How long a verification is taken to last until one was measured. */
const assumedMs = 50

/**
 * Worker threads that verify passwords, because one bcrypt hash blocks a thread for 50-100 ms.
 * Threads start with the first login and hold the process only while they work. One that dies is
 * replaced, and its job tried once more.
 *
 * A verification cannot be interrupted, so during a burst of guesses a good login waits for a
 * thread. Verifications therefore begin evenly spread over the threads: in step they would also end
 * together. Measured with 64 guesses, bcrypt of cost 10 and two cores: a good login comes at most
 * 109 ms later with one thread, 54 ms with two, and 300 ms with three that have to share cores.
 */
export function createVerifierPool({
  log,
  suspicion,
  size = defaultSize(),
  maxWaiting = 256,
  startWorker = startVerifierWorker,
  now = performance.now.bind(performance),
}: PoolOptions): VerifierPool {
  const waiting = createVerificationQueue<Job>({
    max: maxWaiting,
    suspicion: ({ login }) => suspicion(login),
  })
  const idle = new Set<Worker>()
  const running = new Map<Worker, Job>()
  let isClosed = false
  let lastStart = 0
  let typicalMs = assumedMs
  let spreading: NodeJS.Timeout | undefined

  const enqueue = (job: Job): void => {
    waiting.add(job)?.reject(tooMany())
    dispatch()
  }

  const dispatch = (): void => {
    clearTimeout(spreading)
    if (isClosed || waiting.size === 0 || running.size >= size) return
    const early = running.size === 0 ? 0 : lastStart + typicalMs / size - now()
    if (early > 0) {
      spreading = setTimeout(dispatch, early)
      return
    }
    const job = waiting.take()
    if (job !== undefined) run(job)
    dispatch()
  }

  const run = (job: Job): void => {
    const [worker = start()] = idle
    idle.delete(worker)
    running.set(worker, job)
    lastStart = now()
    worker.ref()
    worker.postMessage({
      password: job.login.password,
      hash: job.login.hash,
    } satisfies Verification)
    // The next login finds a thread that has started already.
    if (idle.size === 0 && running.size < size) idle.add(start())
  }

  const start = (): Worker => {
    const worker = startWorker()
    worker.on('message', ({ matches, elapsedMs }: Verdict) => {
      typicalMs = elapsedMs
      running.get(worker)?.resolve(matches)
      running.delete(worker)
      idle.add(worker)
      worker.unref()
      // Later, so that who was just found wrong counts as a failure when the next turn is given.
      setImmediate(dispatch)
    })
    worker.on('error', (error) => lost(worker, error))
    worker.on('exit', () => lost(worker))
    worker.unref() // not before: a message listener holds the process again
    return worker
  }

  /** Called twice for a thread that threw: on its error and on its exit. */
  const lost = (worker: Worker, cause?: Error): void => {
    const job = running.get(worker)
    running.delete(worker)
    idle.delete(worker)
    if (isClosed || job === undefined) return
    job.attempts++
    log.warn({ err: cause, attempts: job.attempts }, 'password verification thread died')
    if (job.attempts < 2) enqueue(job)
    else job.reject(new Error('the thread that verifies the password died twice', { cause }))
    dispatch()
  }

  return {
    verify: (login) =>
      new Promise((resolve, reject) => {
        if (isClosed) reject(new RegistryError('UNAVAILABLE'))
        else enqueue({ login, resolve, reject, attempts: 0 })
      }),
    async [Symbol.asyncDispose]() {
      isClosed = true
      clearTimeout(spreading)
      const workers = [...idle, ...running.keys()]
      const jobs = [...running.values()]
      for (let job = waiting.take(); job !== undefined; job = waiting.take()) jobs.push(job)
      for (const { reject } of jobs) reject(new RegistryError('UNAVAILABLE'))
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

/** As many threads as run side by side, and from three cores on one core left to the event loop. */
function defaultSize(): number {
  const cores = availableParallelism()
  return Math.min(4, cores > 2 ? cores - 1 : cores)
}

function tooMany(): RegistryError {
  return new RegistryError('TOOMANYREQUESTS', undefined, { headers: { 'retry-after': '1' } })
}

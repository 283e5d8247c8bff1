import { availableParallelism } from 'node:os'
import { extname } from 'node:path'
import { Worker } from 'node:worker_threads'
import type { Logger } from 'pino'
import { RegistryError } from '../lib/errors.ts'
import { createVerificationQueue, type Suspicion } from './verification-queue.ts'
import type { Verification } from './verifier-worker.ts'

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
}

type Job = {
  readonly login: Login
  readonly resolve: (matches: boolean) => void
  readonly reject: (error: Error) => void
  attempts: number
}

/**
 * Worker threads that verify passwords, because one bcrypt hash blocks a thread for 50-100 ms.
 * Threads start when first needed, leave a core to the event loop, and hold the process only while
 * they work. A thread that dies is replaced, and its job tried once more.
 */
export function createVerifierPool({
  log,
  suspicion,
  size = Math.max(1, Math.min(4, availableParallelism() - 1)),
  maxWaiting = 256,
  startWorker = startVerifierWorker,
}: PoolOptions): VerifierPool {
  const waiting = createVerificationQueue<Job>({
    max: maxWaiting,
    suspicion: ({ login }) => suspicion(login),
  })
  const idle = new Set<Worker>()
  const running = new Map<Worker, Job>()
  let isClosed = false

  const enqueue = (job: Job): void => {
    waiting.add(job)?.reject(tooMany())
    dispatch()
  }

  const dispatch = (): void => {
    while (!isClosed && waiting.size > 0) {
      const [worker = running.size < size ? start() : undefined] = idle
      const job = worker && waiting.take()
      if (worker === undefined || job === undefined) return
      idle.delete(worker)
      running.set(worker, job)
      worker.ref()
      worker.postMessage({ password: job.login.password, hash: job.login.hash })
    }
  }

  const start = (): Worker => {
    const worker = startWorker()
    worker.on('message', (matches: boolean) => {
      running.get(worker)?.resolve(matches)
      running.delete(worker)
      idle.add(worker)
      worker.unref()
      // Later, so that who was just found wrong counts as a failure when the next turn is given.
      setImmediate(dispatch)
    })
    worker.on('error', (error) => lost(worker, error))
    worker.on('exit', () => lost(worker))
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
      const workers = [...idle, ...running.keys()]
      const jobs = [...running.values()]
      for (let job = waiting.take(); job !== undefined; job = waiting.take()) jobs.push(job)
      for (const { reject } of jobs) reject(new RegistryError('UNAVAILABLE'))
      await Promise.all(workers.map((worker) => worker.terminate()))
    },
  }
}

/** A new verification thread. */
export function startVerifierWorker(): Worker {
  // From the sources this file ends in .ts, in dist in .js; tsc does not rewrite names in strings.
  const file = new URL(`./verifier-worker${extname(import.meta.filename)}`, import.meta.url)
  return new Worker(file, { name: 'password-verifier' })
}

function tooMany(): RegistryError {
  return new RegistryError('TOOMANYREQUESTS', undefined, { headers: { 'retry-after': '1' } })
}

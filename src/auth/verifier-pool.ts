import { availableParallelism } from 'node:os'
import type { Worker } from 'node:worker_threads'
import type { Logger } from 'pino'
import { RegistryError } from '../lib/errors.ts'
import { createStartSpread } from './start-spread.ts'
import { createVerificationQueue, type Suspicion } from './verification-queue.ts'
import { createVerifierThreads, startVerifierWorker } from './verifier-threads.ts'
import type { Verification } from './verifier-worker.ts'

/** A password to check, and who sent it. */
export type Login = Verification & {
  readonly client: string
  readonly user: string
  /** That it is wrong is known, and counts no second time. */
  readonly isCounted?: boolean
}

export type VerifierPool = AsyncDisposable & {
  /**
   * True when the password matches the hash.
   * @throws RegistryError TOOMANYREQUESTS when too many wait and this one would be served last
   */
  verify(login: Login): Promise<boolean>
  /** How many wait for a thread. */
  readonly waiting: number
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
}

/**
 * Worker threads that verify passwords, because one bcrypt hash blocks a thread for 50-100 ms.
 *
 * A verification cannot be interrupted, so during a burst of guesses a good login waits for a thread
 * to come free; spread starts make that about half a verification. Measured with bcrypt of cost 10
 * and two threads on two cores: a good login takes about 105 ms alone and about 150 ms behind 64
 * guesses, be they for the same user, another one or 64 different ones.
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
  const threads = createVerifierThreads({ size, startWorker, log })
  const spread = createStartSpread({ size, now })
  let isClosed = false
  let timer: NodeJS.Timeout | undefined

  const enqueue = (job: Job): void => {
    waiting.add(job)?.reject(tooMany())
    dispatch()
  }

  const dispatch = (): void => {
    clearTimeout(timer)
    while (!isClosed && waiting.size > 0 && threads.working < size) {
      const earlyMs = spread.earlyMs(threads.working)
      if (earlyMs > 0) {
        timer = setTimeout(dispatch, earlyMs)
        return
      }
      const job = waiting.take()
      if (job !== undefined) run(job)
    }
  }

  const run = ({ login, resolve, reject }: Job): void => {
    spread.started()
    threads
      .verify(login)
      .then(({ matches, elapsedMs }) => {
        spread.lasted(elapsedMs)
        resolve(matches)
      }, reject)
      // Later, so that who was just found wrong counts as a failure when the next turn is given.
      .finally(() => setImmediate(dispatch))
  }

  return {
    verify: (login) =>
      new Promise((resolve, reject) => {
        if (isClosed) reject(new RegistryError('UNAVAILABLE'))
        else enqueue({ login, resolve, reject })
      }),
    get waiting() {
      return waiting.size
    },
    async [Symbol.asyncDispose]() {
      isClosed = true
      clearTimeout(timer)
      for (let job = waiting.take(); job !== undefined; job = waiting.take()) {
        job.reject(new RegistryError('UNAVAILABLE'))
      }
      await threads[Symbol.asyncDispose]()
    },
  }
}

/** As many threads as run side by side, and from three cores on one core left to the event loop. */
function defaultSize(): number {
  const cores = availableParallelism()
  return Math.min(4, cores > 2 ? cores - 1 : cores)
}

function tooMany(): RegistryError {
  return new RegistryError('TOOMANYREQUESTS', undefined, { headers: { 'retry-after': '1' } })
}

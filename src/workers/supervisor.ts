import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from 'pino'
import { StartupError } from '../lib/startup-error.ts'
import { createBackoff } from './backoff.ts'
import type { Channel } from './channel.ts'
import { type CrewOptions, createCrew, type Started } from './crew.ts'
import type { Exit, WorkerProcess } from './fork.ts'
import type { WorkerHandlers } from './protocol.ts'

export type Supervisor = {
  /** Where all of them listen. */
  readonly url: string
  /** Whether any takes new work. */
  isServing(): boolean
  /** Those that have not ended, without those that do not listen yet; one may be leaving. */
  workers(): readonly Channel<WorkerHandlers>[]
  /** Lets all drain. Resolves when they have ended, or were killed after `withinMs`. */
  stop(withinMs: number): Promise<void>
  /** Ends all at once. */
  kill(): void
}

export type SupervisorOptions = CrewOptions & {
  /** One ended, or is about to, that was not told to. */
  readonly onLost: () => void
}

/**
 * Starts as many workers as the order says, and another for each that ends. None outlives the exit of
 * this process.
 * @throws StartupError if the first ones cannot start
 */
export async function startSupervisor(options: SupervisorOptions): Promise<Supervisor> {
  const { order, log, onLost } = options
  const crew = createCrew(options)
  const leaving = new Set<WorkerProcess>()
  const stop = new AbortController()

  const keep = async (first: Started): Promise<void> => {
    const backoff = createBackoff()
    let next = first
    for (;;) {
      const startedAt = performance.now()
      const { worker, url } = next
      const problem = await url.then(() => undefined, reasonOf)
      const exit = await Promise.race([worker.exited, worker.leaving.then(() => undefined)])
      if (stop.signal.aborted) return
      leaving.add(worker)
      void worker.exited.then(() => leaving.delete(worker))
      onLost()
      report(log, worker, { exit, problem })
      const waitMs = backoff.next(performance.now() - startedAt)
      await delay(waitMs, undefined, { signal: stop.signal }).catch(() => {})
      if (stop.signal.aborted) return
      next = crew.start()
    }
  }
  const kill = (): void => {
    stop.abort()
    crew.kill()
  }
  // Those that start would find nobody to speak to; the others would go on with what they have.
  process.prependOnceListener('exit', kill)

  const first = Array.from({ length: order.workers }, crew.start)
  const listening = first.map(({ worker, url }) => url.catch((error) => failStart(worker, error)))
  const [url = ''] = await Promise.all(listening).catch(async (error: unknown) => {
    kill()
    await Promise.all(first.map(({ worker }) => worker.exited))
    throw error
  })
  for (const started of first) void keep(started)

  return {
    url,
    isServing: () => [...crew.listening].some((worker) => !leaving.has(worker)),
    workers: () => [...crew.listening].map(({ channel }) => channel),
    async stop(withinMs) {
      stop.abort()
      const { running } = crew
      const ended = Promise.all([...running].map(({ exited }) => exited))
      for (const { channel } of running) channel.tell('stop')
      const patience = new AbortController()
      const tooLong = delay(withinMs, undefined, { signal: patience.signal }).catch(() => {})
      await Promise.race([ended, tooLong])
      patience.abort()
      for (const { id, pid } of running) log.warn({ worker: id, pid }, 'worker process killed')
      crew.kill()
      await ended
    },
    kill,
  }
}

/**
 * Says why one of the first could not start.
 * @throws StartupError; Error when it was killed, or could not be made: that may pass
 */
async function failStart({ exited }: WorkerProcess, cause: unknown): Promise<never> {
  if (cause instanceof StartupError) throw cause
  const { code, signal, error } = await exited
  if (code === null)
    throw new Error(`a worker process could not start: ${error ?? `signal ${signal}`}`, { cause })
  throw new StartupError(
    `workers: a worker process ended before it could listen (code ${code}); set workers to 1 to do without`,
    { cause },
  )
}

function reasonOf(error: unknown): { problems: readonly string[] } | { err: unknown } {
  return error instanceof StartupError ? { problems: error.problems } : { err: error }
}

/** `exit` is absent while it only leaves, `problem` unless it could not start. */
type Loss = {
  readonly exit: Exit | undefined
  readonly problem: ReturnType<typeof reasonOf> | undefined
}

function report(log: Logger, { id, pid }: WorkerProcess, { exit, problem }: Loss): void {
  const fields = { worker: id, pid, ...exit, ...problem }
  log.warn(fields, `worker process ${exit === undefined ? 'leaves' : 'ended'}: starting another`)
}

import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from 'pino'
import { StartupError } from '../lib/startup-error.ts'
import { createBackoff } from './backoff.ts'
import type { Channel } from './channel.ts'
import type { Exit, WorkerProcess } from './fork.ts'
import type { StartOrder, WorkerHandlers } from './protocol.ts'

export type Supervisor = {
  /** Where all of them listen. */
  readonly url: string
  /** Those that serve now. */
  serving(): readonly Channel<WorkerHandlers>[]
  /** Lets all drain. Resolves when they have ended, or were killed after `withinMs`. */
  stop(withinMs: number): Promise<void>
  /** Ends all at once. */
  kill(): void
}

export type SupervisorOptions = {
  readonly fork: () => WorkerProcess
  readonly order: StartOrder
  readonly log: Logger
  /** One ended, or is about to, that was not told to. */
  readonly onLost: () => void
}

/** A worker, and the URL at which it listens as soon as it does. */
type Started = { readonly worker: WorkerProcess; readonly url: Promise<string> }

/**
 * Starts as many workers as the order says, and another for each that ends.
 * @throws StartupError if the first ones cannot start
 */
export async function startSupervisor(options: SupervisorOptions): Promise<Supervisor> {
  const { fork, order, log, onLost } = options
  const running = new Set<WorkerProcess>()
  const serving = new Set<WorkerProcess>()
  const stop = new AbortController()

  const start = (): Started => {
    const worker = fork()
    running.add(worker)
    void worker.exited.then(() => running.delete(worker))
    return { worker, url: worker.channel.ask('start', order) }
  }
  const keep = async (first: Started): Promise<void> => {
    const backoff = createBackoff()
    let next = first
    for (;;) {
      const startedAt = performance.now()
      const { worker, url } = next
      const problem = await url.then(() => undefined, reasonOf)
      if (problem === undefined) serving.add(worker)
      // It is of no use, whatever it still waits for.
      else worker.kill()
      const exit = await Promise.race([worker.exited, worker.leaving.then(() => undefined)])
      serving.delete(worker)
      if (stop.signal.aborted) return
      onLost()
      report(log, worker, { exit, problem })
      const waitMs = backoff.next(performance.now() - startedAt)
      await delay(waitMs, undefined, { signal: stop.signal }).catch(() => {})
      if (stop.signal.aborted) return
      next = start()
    }
  }
  const kill = (): void => {
    stop.abort()
    for (const worker of running) worker.kill()
  }

  const first = Array.from({ length: order.workers }, start)
  const url = await Promise.all(first.map((started) => started.url)).then(
    ([shared = '']) => shared,
    async (error: unknown) => {
      kill()
      const [exit] = await Promise.all(first.map(({ worker }) => worker.exited))
      throw error instanceof StartupError ? error : endedEarly(exit, error)
    },
  )
  for (const started of first) void keep(started)

  return {
    url,
    serving: () => [...serving].map(({ channel }) => channel),
    async stop(withinMs) {
      stop.abort()
      const ended = Promise.all([...running].map(({ exited }) => exited))
      for (const { channel } of running) channel.tell('stop')
      const patience = new AbortController()
      const tooLong = delay(withinMs, undefined, { signal: patience.signal }).catch(() => {})
      await Promise.race([ended, tooLong])
      patience.abort()
      for (const { id, pid } of running) log.warn({ worker: id, pid }, 'worker process killed')
      kill()
      await ended
    },
    kill,
  }
}

function endedEarly(exit: Exit | undefined, cause: unknown): StartupError {
  const reason = exit?.error ?? `code ${exit?.code}, signal ${exit?.signal}`
  return new StartupError(
    `workers: a worker process ended before it could listen (${reason}); set workers to 1 to do without`,
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

import type { Logger } from 'pino'
import type { WorkerProcess } from './fork.ts'
import { within } from './patience.ts'
import type { StartOrder } from './protocol.ts'
import { defaultPulse, type PulseOptions, watchPulse } from './pulse.ts'

/** A worker, and the URL at which it listens as soon as it does. */
export type Started = { readonly worker: WorkerProcess; readonly url: Promise<string> }

/** The workers that have not ended. */
export type Crew = {
  /** Those that have a process. */
  readonly running: ReadonlySet<WorkerProcess>
  /** Those of them that listen, or did. */
  readonly listening: ReadonlySet<WorkerProcess>
  /** Starts one more, which is killed if it cannot listen, or hangs at any time. */
  start(): Started
  /** Ends all at once. */
  kill(): void
}

export type CrewOptions = {
  readonly fork: () => WorkerProcess
  readonly order: StartOrder
  readonly log: Logger
  /** Milliseconds that one may take to listen, a minute by default. */
  readonly startMs?: number
  readonly pulse?: PulseOptions
}

export function createCrew({
  fork,
  order,
  log,
  startMs = 60_000,
  pulse = defaultPulse,
}: CrewOptions): Crew {
  const running = new Set<WorkerProcess>()
  const listening = new Set<WorkerProcess>()

  const watch = (worker: WorkerProcess): void => {
    const { id, pid, channel, exited } = worker
    const watching = watchPulse(channel, {
      ...pulse,
      onSilent() {
        log.error({ worker: id, pid }, 'worker process hangs: killed')
        worker.kill()
      },
    })
    listening.add(worker)
    void exited.then(() => {
      watching[Symbol.dispose]()
      listening.delete(worker)
    })
  }
  const listen = async (worker: WorkerProcess): Promise<string> => {
    try {
      const url = await within(startMs, worker.channel.ask('start', order))
      watch(worker)
      return url
    } catch (error) {
      // It is of no use, whatever it still waits for.
      worker.kill()
      throw error
    }
  }

  return {
    running,
    listening,
    start() {
      const worker = fork()
      running.add(worker)
      void worker.exited.then(() => running.delete(worker))
      return { worker, url: listen(worker) }
    },
    kill() {
      for (const worker of running) worker.kill()
    },
  }
}

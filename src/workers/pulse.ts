import type { Channel } from './channel.ts'
import type { WorkerHandlers } from './protocol.ts'

export type PulseOptions = {
  /** Milliseconds from one beat to the next. */
  readonly everyMs: number
  /** Beats without an answer after which a worker hangs. */
  readonly missed: number
}

/** A loop that does not turn for half a minute serves nobody; garbage collection takes a second or two. */
export const defaultPulse: PulseOptions = { everyMs: 5_000, missed: 6 }

/**
 * Asks a worker again and again whether it is there, and calls `onSilent` once when it does not answer.
 * Disposing ends that.
 *
 * Beats are counted, not time: after a pause of everything, as of `docker pause`, answers of half an hour
 * ago may be unread, but only one beat is late.
 */
export function watchPulse(
  channel: Channel<WorkerHandlers>,
  { everyMs, missed, onSilent }: PulseOptions & { readonly onSilent: () => void },
): Disposable {
  let unanswered = 0
  const beat = (): void => {
    if (unanswered === missed) {
      clearInterval(timer)
      onSilent()
      return
    }
    unanswered += 1
    if (unanswered > 1) return
    const answered = (): void => {
      unanswered = 0
    }
    // One that is gone has an exit of its own.
    channel.ask('ping').then(answered, answered)
  }
  const timer = setInterval(beat, everyMs).unref()
  return { [Symbol.dispose]: () => clearInterval(timer) }
}

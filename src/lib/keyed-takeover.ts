export type KeyedTakeover = {
  /**
   * Runs `work` once nobody else works under `key`. Whoever does is asked to let go: its signal aborts,
   * and it decides how soon it ends. Other keys are not delayed.
   */
  run<T>(key: string, work: (letGo: AbortSignal) => Promise<T>): Promise<T>
}

type Turn = { readonly controller: AbortController; readonly over: Promise<void> }

/**
 * Mutual exclusion in which the newest comes first: work that is waiting for a peer that is gone must
 * not keep those away who could go on. `reason` makes what the signals abort with.
 */
export function createKeyedTakeover(reason: () => Error): KeyedTakeover {
  const last = new Map<string, Turn>()
  return {
    async run(key, work) {
      const before = last.get(key)
      const { promise: over, resolve: end } = Promise.withResolvers<void>()
      const turn: Turn = { controller: new AbortController(), over }
      last.set(key, turn)
      before?.controller.abort(reason())
      await before?.over
      try {
        return await work(turn.controller.signal)
      } finally {
        end()
        if (last.get(key) === turn) last.delete(key)
      }
    },
  }
}

export type IdleTimer = {
  /** Something moved. Cheap enough for every chunk. */
  touch(): void
  /** From now on, nothing may move for this long. */
  allow(limitMs: number): void
  stop(): void
}

/** Calls `onIdle` once if nothing was touched for the allowed time; one timer, however many touches. */
export function createIdleTimer(limitMs: number, onIdle: () => void): IdleTimer {
  let limit = limitMs
  let last = performance.now()
  let timer: NodeJS.Timeout | undefined

  const arm = (delayMs: number): void => {
    clearTimeout(timer)
    timer = setTimeout(check, delayMs).unref()
  }
  const check = (): void => {
    const left = last + limit - performance.now()
    if (left > 0) arm(left + 1)
    else onIdle()
  }
  arm(limit)

  return {
    touch() {
      last = performance.now()
    },
    allow(nextLimitMs) {
      limit = nextLimitMs
      last = performance.now()
      arm(limit)
    },
    stop() {
      clearTimeout(timer)
    },
  }
}

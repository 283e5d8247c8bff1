export type StartSpread = {
  /** How many milliseconds too early it is to start one more beside `running` others. */
  earlyMs(running: number): number
  started(): void
  /** Tells how long one lasted; the next are taken to last as long. */
  lasted(elapsedMs: number): void
}

type SpreadOptions = {
  /** How many run side by side. */
  size: number
  /** Milliseconds on a clock that never goes back. */
  now: () => number
}

/** How long one is taken to last until one was measured. */
const assumedMs = 50

/**
 * Spreads the starts of works that cannot be interrupted evenly over the time that one lasts: in
 * step they would also end together, and who comes next would wait for a whole one.
 */
export function createStartSpread({ size, now }: SpreadOptions): StartSpread {
  let lastStart = 0
  let typicalMs = assumedMs

  return {
    earlyMs: (running) => (running === 0 ? 0 : Math.max(0, lastStart + typicalMs / size - now())),
    started() {
      lastStart = now()
    },
    lasted(elapsedMs) {
      typicalMs = elapsedMs
    },
  }
}

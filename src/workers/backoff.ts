const firstMs = 100
const longestMs = 5_000
/** Who lived this long did not die of its start. */
const settledMs = 60_000

export type Backoff = {
  /** Milliseconds to wait before another is started in place of one that lived for `livedMs`. */
  next(livedMs: number): number
}

/** No wait at first, then ever longer ones for as long as each dies soon after its start. */
export function createBackoff(): Backoff {
  let deaths = 0
  return {
    next(livedMs) {
      if (livedMs >= settledMs) deaths = 0
      deaths += 1
      return deaths === 1 ? 0 : Math.min(firstMs * 2 ** (deaths - 2), longestMs)
    },
  }
}

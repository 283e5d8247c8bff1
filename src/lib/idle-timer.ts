export type IdleTimer = {
  /** Something moved. Cheap enough for every chunk. */
  touch(): void
  /** From now on, nothing may move for this long. */
  allow(limitMs: number): void
  stop(): void
}

type Watched = { due: number; index: number; readonly onIdle: () => void }

/**
 * All that is watched shares one alarm: a timer for each request, set and cleared again, cost 4 us of
 * the 80 that a small one takes. An array, in which the last one takes the place of what is removed: the
 * tables that a Set leaves behind as it shrinks kept dead requests for the collector's slow rounds.
 */
const watched: Watched[] = []
const nowhere = -1
let alarm: { readonly at: number; readonly timer: NodeJS.Timeout } | undefined

/** Calls `onIdle` once if nothing was touched for the allowed time. */
export function createIdleTimer(limitMs: number, onIdle: () => void): IdleTimer {
  let limit = limitMs
  const entry: Watched = { due: performance.now() + limit, index: nowhere, onIdle }
  watch(entry)

  return {
    touch() {
      entry.due = performance.now() + limit
    },
    allow(nextLimitMs) {
      limit = nextLimitMs
      entry.due = performance.now() + limit
      watch(entry)
    },
    stop() {
      forget(entry)
    },
  }
}

function watch(entry: Watched): void {
  if (entry.index === nowhere) entry.index = watched.push(entry) - 1
  wakeBy(entry.due)
}

function forget(entry: Watched): void {
  const { index } = entry
  entry.index = nowhere
  if (index === nowhere) return
  const last = watched.pop()
  if (last === undefined || last === entry) return
  watched[index] = last
  last.index = index
}

/** The alarm may go off too early for all, as touching and stopping leave it alone; never too late. */
function wakeBy(at: number): void {
  if (alarm !== undefined && alarm.at <= at) return
  clearTimeout(alarm?.timer)
  alarm = { at, timer: setTimeout(look, at - performance.now() + 1).unref() }
}

function look(): void {
  alarm = undefined
  const now = performance.now()
  const overdue = watched.filter(({ due }) => due <= now)
  for (const entry of overdue) {
    // One that was called before may have stopped it.
    if (entry.index === nowhere) continue
    forget(entry)
    entry.onIdle()
  }
  for (const { due } of watched) wakeBy(due)
}

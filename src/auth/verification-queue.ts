/** Two counts, compared left to right; the lower pair goes first. */
export type Suspicion = readonly [first: number, second: number]

export type VerificationQueue<T> = {
  readonly size: number
  /** Adds an item; when that is one too many, removes and returns the one that would come last. */
  add(item: T): T | undefined
  /** Removes and returns the item whose turn it is. */
  take(): T | undefined
}

/**
 * A bounded waiting line in which the least suspect item goes first and, among equals, the newest.
 *
 * Newest first, because a burst of guesses must not delay the login that comes after it; in order
 * of arrival it would wait for every one of them. Suspicion is asked for at each turn, so guesses
 * sink while their predecessors fail.
 */
export function createVerificationQueue<T>({
  max,
  suspicion,
}: {
  max: number
  suspicion: (item: T) => Suspicion
}): VerificationQueue<T> {
  const items: T[] = [] // oldest first

  const indexOf = (isBefore: (a: Suspicion, b: Suspicion) => boolean): number => {
    let found = 0
    let best: Suspicion | undefined
    for (const [index, item] of items.entries()) {
      const candidate = suspicion(item)
      if (best !== undefined && !isBefore(candidate, best)) continue
      found = index
      best = candidate
    }
    return found
  }
  const removeAt = (index: number): T | undefined => items.splice(index, 1)[0]

  return {
    get size() {
      return items.length
    },
    add(item) {
      items.push(item)
      return items.length > max ? removeAt(indexOf((a, b) => compare(a, b) > 0)) : undefined
    },
    take: () => removeAt(indexOf((a, b) => compare(a, b) <= 0)),
  }
}

function compare(a: Suspicion, b: Suspicion): number {
  return a[0] - b[0] || a[1] - b[1]
}

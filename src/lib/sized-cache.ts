export type SizedCache<K, V> = {
  /** The value of `key`; reading makes it the most recently used. */
  get(key: K): V | undefined
  /** Keeps a value at the expense of the least recently used; one that is too large is not kept. */
  set(key: K, value: V): void
  delete(key: K): void
  /** Sum of what the values cost. */
  readonly cost: number
}

/** A least-recently-used cache whose values together never cost more than `maxCost`. */
export function createSizedCache<K, V>({
  maxCost,
  costOf,
}: {
  readonly maxCost: number
  /** What keeping a value costs, in the unit of `maxCost`; the same at every call. */
  readonly costOf: (value: V) => number
}): SizedCache<K, V> {
  // A Map keeps insertion order, so the first key is always the least recently used one.
  const entries = new Map<K, V>()
  let total = 0

  const remove = (key: K): void => {
    const value = entries.get(key)
    if (value !== undefined && entries.delete(key)) total -= costOf(value)
  }

  return {
    get(key) {
      const value = entries.get(key)
      if (value === undefined) return undefined
      entries.delete(key)
      entries.set(key, value)
      return value
    },
    set(key, value) {
      remove(key)
      const cost = costOf(value)
      if (cost > maxCost) return
      entries.set(key, value)
      total += cost
      for (const oldest of entries.keys()) {
        if (total <= maxCost) return
        remove(oldest)
      }
    },
    delete: remove,
    get cost() {
      return total
    },
  }
}

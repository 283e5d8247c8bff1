type Entry<V> = { readonly value: V; readonly expiresAt: number }

export type BoundedMap<K, V> = {
  /** The live value of `key`; reading makes it the most recently used. */
  get(key: K): V | undefined
  set(key: K, value: V): void
  delete(key: K): void
  clear(): void
  readonly size: number
}

/** A least-recently-used map of at most `max` entries, each forgotten `ttlMs` after it was set. */
export function createBoundedMap<K, V>({
  max,
  ttlMs,
  now = Date.now,
}: {
  max: number
  ttlMs: number
  now?: () => number
}): BoundedMap<K, V> {
  // A Map keeps insertion order, so the first key is always the least recently used one.
  const entries = new Map<K, Entry<V>>()

  const get = (key: K): V | undefined => {
    const entry = entries.get(key)
    if (entry === undefined) return undefined
    entries.delete(key)
    if (entry.expiresAt <= now()) return undefined
    entries.set(key, entry)
    return entry.value
  }

  const set = (key: K, value: V): void => {
    entries.delete(key)
    entries.set(key, { value, expiresAt: now() + ttlMs })
    if (entries.size <= max) return
    const oldest = entries.keys().next()
    if (!oldest.done) entries.delete(oldest.value)
  }

  return {
    get,
    set,
    delete: (key) => void entries.delete(key),
    clear: () => entries.clear(),
    get size() {
      return entries.size
    },
  }
}

/** Edits (insert, delete, replace one character) that turn `a` into `b`. */
export function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i += 1) {
    const row = [i]
    for (let j = 1; j <= b.length; j += 1) {
      const replace = (previous[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      row.push(Math.min(replace, (previous[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1))
    }
    previous = row
  }
  return previous[b.length] ?? 0
}

/**
 * The known path that `path` was probably meant to be: a key of the same section with a similar
 * name or one that begins alike, the same key in another section, or a path that is similar as a
 * whole. Paths in `preferred` come first, and are the only ones from other sections.
 */
export function nearestPath(
  path: string,
  known: readonly string[],
  preferred: readonly string[] = known,
): string | undefined {
  const wanted = path.slice(0, 200).toLowerCase()
  const key = lastKey(wanted)
  return (
    nearestSibling(wanted, preferred) ??
    nearestSibling(wanted, known) ??
    preferred.find((candidate) => candidate.endsWith(`.${wanted}`)) ??
    preferred.find((candidate) => candidate !== wanted && lastKey(candidate) === key) ??
    closest(wanted, preferred, (candidate) => candidate)
  )
}

function nearestSibling(wanted: string, known: readonly string[]): string | undefined {
  const key = lastKey(wanted)
  const siblings = known.filter((candidate) => parentOf(candidate) === parentOf(wanted))
  return closest(key, siblings, lastKey) ?? siblings.find((path) => beginAlike(lastKey(path), key))
}

/** `password` and `passwordfile`, `cert` and `certificate`. */
function beginAlike(a: string, b: string): boolean {
  return Math.min(a.length, b.length) >= 3 && (a.startsWith(b) || b.startsWith(a))
}

function closest(
  wanted: string,
  known: readonly string[],
  nameOf: (path: string) => string,
): string | undefined {
  let best: string | undefined
  let bestDistance = Math.max(1, Math.floor(wanted.length / 3)) + 1
  for (const candidate of known) {
    const distance = editDistance(wanted, nameOf(candidate))
    if (distance < bestDistance) {
      best = candidate
      bestDistance = distance
    }
  }
  return best
}

function lastKey(path: string): string {
  return path.slice(path.lastIndexOf('.') + 1)
}

function parentOf(path: string): string {
  return path.slice(0, Math.max(path.lastIndexOf('.'), 0))
}

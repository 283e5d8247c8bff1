/** Whole numbers below a bound, the same ones in every run of one seed. */
export type Random = (below: number) => number

/** Numbers that look random and are the same for the same `seed` (mulberry32). */
export function createRandom(seed: number): Random {
  let state = seed
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}

/** One of `choices`. */
export function pick<T>(random: Random, choices: readonly T[]): T {
  const chosen = choices[random(choices.length)]
  if (chosen === undefined) throw new TypeError('there is nothing to pick from')
  return chosen
}

/** `size` bytes that hardly any other call gives. */
export function randomContent(random: Random, size: number): Buffer {
  const bytes = Buffer.allocUnsafe(size)
  for (let at = 0; at + 4 <= size; at += 4) bytes.writeUInt32LE(random(2 ** 32), at)
  for (let at = size - (size % 4); at < size; at += 1) bytes[at] = random(256)
  return bytes
}

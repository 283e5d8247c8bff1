import { createRandom, randomContent } from './random.ts'

/** Prime, so that no two contents below begin at the same place. */
const pattern = randomContent(createRandom(4), 1_048_583)

/** A view of the content of `id` from byte `at` on, of at most `most` bytes and at least one. */
export function contentAt(id: number, at: number, most: number): Buffer {
  const start = startOf(id, at)
  return pattern.subarray(start, start + most)
}

/** True if `bytes` are the content of `id` from byte `at` on. */
export function isContentAt(id: number, at: number, bytes: Buffer): boolean {
  for (let seen = 0; seen < bytes.length; ) {
    const expected = contentAt(id, at + seen, bytes.length - seen)
    if (!bytes.subarray(seen, seen + expected.length).equals(expected)) return false
    seen += expected.length
  }
  return true
}

function startOf(id: number, at: number): number {
  return (id * 7919 + at) % pattern.length
}

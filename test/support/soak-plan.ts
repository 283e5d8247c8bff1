import { pick, type Random } from './random.ts'

/** What one side does to an exchange once `at` bytes of the body have passed it. */
export type Act = { readonly what: 'nothing' | 'abort' | 'stall' | 'refuse'; readonly at: number }

/** One request of a soak, and what becomes of it; the backend is told in the header `X-Plan`. */
export type Plan = {
  readonly id: number
  readonly kind: 'upload' | 'download'
  /** First byte of the content, and how many bytes. */
  readonly from: number
  readonly length: number
  readonly framing: 'sized' | 'chunked' | 'until-close'
  readonly client: Act
  readonly backend: Act
}

/** How long a side that stalls does so, in milliseconds. */
export const stallMs = 700

/** A plan at random; most of them for a short body, and half of them with nothing going wrong. */
export function makePlan(id: number, random: Random): Plan {
  const kind = pick(random, ['upload', 'download'] as const)
  const length = 1 + random(pick(random, [300, 20_000, 20_000, 600_000, 600_000, 8_000_000]))
  const framing = pick(
    random,
    kind === 'upload'
      ? (['sized', 'chunked'] as const)
      : (['sized', 'sized', 'chunked', 'until-close'] as const),
  )
  const act = (whats: readonly Act['what'][]): Act => ({
    what: random(4) === 0 ? pick(random, whats) : 'nothing',
    at: random(length),
  })
  const backendActs: Act['what'][] = kind === 'upload' ? ['abort', 'stall', 'refuse'] : ['stall']
  // The end of a connection is the end of such a body, wherever it comes.
  if (kind === 'download' && framing !== 'until-close') backendActs.push('abort')
  const from = kind === 'download' && random(3) === 0 ? random(1_000_000) : 0
  const client = act(['abort', 'stall'])
  return { id, kind, from, length, framing, client, backend: act(backendActs) }
}

/**
 * Something the operator must mend before Tidegate can start: each problem is one line that names
 * the path, the value and the remedy. The command prints them all and exits with 78 (EX_CONFIG).
 */
export class StartupError extends Error {
  override readonly name = 'StartupError'
  readonly problems: readonly string[]

  constructor(problems: string | readonly string[], options?: ErrorOptions) {
    const lines = typeof problems === 'string' ? [problems] : problems
    super(lines.join('\n'), options)
    this.problems = lines
  }
}

/**
 * Waits for all parts, so that the operator sees every problem at once.
 * @throws StartupError with the problems of all the parts that failed
 */
export async function gatherProblems<T extends readonly unknown[]>(
  parts: readonly [...{ [K in keyof T]: Promise<T[K]> }],
): Promise<T> {
  const results = await Promise.allSettled(parts)
  const problems = results.flatMap((result) => {
    if (result.status === 'fulfilled') return []
    if (result.reason instanceof StartupError) return result.reason.problems
    throw result.reason
  })
  if (problems.length > 0) throw new StartupError(problems)
  return (await Promise.all(parts)) as unknown as T // TypeScript cannot see that Promise.all undoes the mapping
}

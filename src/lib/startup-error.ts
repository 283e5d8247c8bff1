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

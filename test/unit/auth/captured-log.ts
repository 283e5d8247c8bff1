import pino, { type Logger } from 'pino'

export type LogLine = {
  readonly level: number
  readonly msg: string
  readonly [key: string]: unknown
}

/** A real pino logger whose lines can be read back; `text` is everything it ever wrote. */
export function captureLog(): { log: Logger; lines: LogLine[]; text: () => string } {
  const written: string[] = []
  const lines: LogLine[] = []
  const log = pino(
    { level: 'debug' },
    {
      write: (line: string) => {
        written.push(line)
        lines.push(JSON.parse(line))
      },
    },
  )
  return { log, lines, text: () => written.join('') }
}

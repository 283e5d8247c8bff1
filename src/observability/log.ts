import { type DestinationStream, type Logger, type LoggerOptions, pino } from 'pino'
import { formatTextLine } from './text-format.ts'

export type LogSettings = {
  readonly level: 'error' | 'warn' | 'info' | 'debug'
  readonly formatter: 'json' | 'text' | 'logstash'
  /** Constant fields of every line. */
  readonly fields: Readonly<Record<string, unknown>>
}

/** Values under these keys never reach a line, whoever logs them. */
const secrets = ['authorization', 'password', 'secret', 'cookie', 'token', '_state']

/** Lines that wait for a reader that stands still; beyond that they are dropped, not the server. */
const maxWaitingBytes = 8 * 1024 * 1024

/**
 * The process's log: one line an event, JSON by default. Lines are written at once, not gathered, so
 * that those before a crash are there.
 */
export function createLog(
  settings: LogSettings,
  destination: DestinationStream = openStandardOutput(),
): Logger {
  const base: LoggerOptions = {
    level: settings.level,
    base: settings.fields,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    redact: { paths: secrets.flatMap((key) => [key, `*.${key}`, `*.*.${key}`]), censor: '***' },
  }
  switch (settings.formatter) {
    case 'json':
      return pino(base, destination)
    case 'logstash':
      return pino({ ...base, ...logstash(settings.fields) }, destination)
    case 'text':
      return pino(base, { write: (line) => destination.write(formatTextLine(line)) })
  }
}

/** Standard output, within bounds: nobody may fill memory by requests whose records are not read. */
function openStandardOutput(): DestinationStream {
  const output = pino.destination({ dest: 1, sync: true, maxLength: maxWaitingBytes })
  let dropped = 0
  output.on('drop', () => {
    dropped += 1
  })
  output.on('drain', () => {
    if (dropped > 0)
      process.stderr.write(
        `tidegate: ${dropped} log lines were dropped: standard output was not read\n`,
      )
    dropped = 0
  })
  return output
}

/** The field names that registry:2's `logstash` formatter writes. */
function logstash(fields: Readonly<Record<string, unknown>>): LoggerOptions {
  return {
    base: { '@version': '1', ...fields },
    messageKey: 'message',
    timestamp: () => `,"@timestamp":"${new Date().toISOString()}"`,
  }
}

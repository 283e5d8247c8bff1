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

/**
 * The process's log: one line an event, JSON by default. Writing is synchronous, so that the lines
 * before a crash are there; an access record costs a few microseconds.
 */
export function createLog(
  settings: LogSettings,
  destination: DestinationStream = pino.destination(1),
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

/** The field names that registry:2's `logstash` formatter writes. */
function logstash(fields: Readonly<Record<string, unknown>>): LoggerOptions {
  return {
    base: { '@version': '1', ...fields },
    messageKey: 'message',
    timestamp: () => `,"@timestamp":"${new Date().toISOString()}"`,
  }
}

import { constants, fstatSync, openSync } from 'node:fs'
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
/** Tries, 100 ms apart, to write to a pipe that is full while the process exits. */
const exitTries = 10

/** The process's log: one line an event, JSON by default. */
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

/**
 * Standard output, written beside the event loop: a pipe whose reader stands still blocks its writer, and
 * written synchronously it stopped the whole server (18 requests a second, then none). Each line leaves as
 * soon as the one before it has, and what waits leaves at the exit, for a second at most. Bounded, because
 * nobody may fill memory by requests whose records are not read.
 */
function openStandardOutput(): DestinationStream {
  let triesLeft = Number.POSITIVE_INFINITY
  const output = pino.destination({
    dest: openUnblocked(1),
    sync: false,
    maxLength: maxWaitingBytes,
    retryEAGAIN: () => triesLeft-- > 0,
  })
  // Before pino's own listener, which would write for as long as nobody reads.
  process.prependListener('exit', () => {
    triesLeft = exitTries
    try {
      output.flushSync()
    } catch {
      output.destroy()
    }
  })
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

/** A pipe opened anew (Linux), so that a full one is an error to come back to and no thread gets stuck. */
function openUnblocked(fd: number): number {
  try {
    if (!fstatSync(fd).isFIFO()) return fd
    return openSync(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_NONBLOCK)
  } catch {
    return fd
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

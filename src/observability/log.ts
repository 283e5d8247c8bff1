import { constants, fstatSync, openSync } from 'node:fs'
import { type DestinationStream, type Logger, type LoggerOptions, pino } from 'pino'
import { createLineOutput, type LineOutput, type LineOutputOptions } from './line-output.ts'
import { formatTextLine } from './text-format.ts'

export type LogSettings = {
  readonly level: 'error' | 'warn' | 'info' | 'debug'
  readonly formatter: 'json' | 'text' | 'logstash'
  /** Constant fields of every line. */
  readonly fields: Readonly<Record<string, unknown>>
}

/** Values under these keys never reach a line, whoever logs them. */
const secrets = ['authorization', 'password', 'secret', 'cookie', 'token', '_state']

type OnDropped = LineOutputOptions['onDropped']

/** Lines that wait for a reader that stands still; beyond that they are dropped, not the server. */
const maxWaitingBytes = 8 * 1024 * 1024
/** How long a process that ends waits for a reader of its last lines. */
const flushWithinMs = 1_000

/** What lines are written to; without `flush` it keeps none back. */
type Destination = DestinationStream & Partial<Pick<LineOutput, 'flush'>>

/** The log of the process on its standard output, which others' lines may join. */
export type ProcessLog = {
  readonly log: Logger
  /** Takes whole lines that another process has formatted. */
  writeLines(lines: string): void
}

/** A log: one line an event, JSON by default. */
export function createLog(settings: LogSettings, destination: Destination): Logger {
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
      return pino(base, asText(destination))
  }
}

/**
 * The process's log. That lines were dropped is said where they are missed, as soon as lines can be
 * written again.
 */
export function openLog(settings: LogSettings): ProcessLog {
  return openLogOn(settings, openStandardOutput)
}

/** The log of a worker, whose standard output its parent reads. */
export function openWorkerLog(settings: LogSettings): Logger {
  return openLogOn(settings, openSocketOutput).log
}

function openLogOn(settings: LogSettings, open: (onDropped: OnDropped) => LineOutput): ProcessLog {
  const output = open((count) =>
    log.warn(
      { dropped: count },
      'log lines were dropped: standard output was not read, or could not be written',
    ),
  )
  process.on('exit', output.writeRest)
  const log = createLog(settings, output)
  return { log, writeLines: output.write }
}

/** Resolves once the lines of `log` have left, or nobody will read them; after a second in any case. */
export async function flushLog(log: Logger): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const patience = setTimeout(resolve, flushWithinMs)
  log.flush(() => resolve())
  await promise
  clearTimeout(patience)
}

function asText(destination: Destination): Destination {
  const { flush = callBack } = destination
  return { write: (line) => destination.write(formatTextLine(line)), flush }
}

function callBack(callback: () => void): void {
  callback()
}

/**
 * Standard output, written beside the event loop: a pipe whose reader stands still blocks its writer, and
 * written synchronously it stopped the whole server (18 requests a second, then none). What waits leaves
 * at the exit. Bounded, because nobody may fill memory by requests whose records are not read.
 *
 * Only a pipe that this user may open anew is known not to keep the exit. A socket, a terminal or the pipe
 * of another user blocks: where its reader stands still, the process may have to be killed.
 */
function openStandardOutput(onDropped: OnDropped): LineOutput {
  const pipe = openUnblocked(1)
  return createLineOutput(pipe ?? 1, {
    maxWaitingBytes,
    unblocked: pipe !== undefined,
    onDropped,
  })
}

/** What Node gives a child for a pipe is a socket, which cannot be opened anew; Node unblocks it on use. */
function openSocketOutput(onDropped: OnDropped): LineOutput {
  const { fd } = process.stdout
  return createLineOutput(fd, { maxWaitingBytes, unblocked: true, onDropped })
}

/**
 * A pipe opened anew (Linux), so that a full one is an error to come back to and no thread gets stuck;
 * undefined for all else, and for a pipe of another user, which the system refuses.
 */
function openUnblocked(fd: number): number | undefined {
  try {
    if (!fstatSync(fd).isFIFO()) return undefined
    return openSync(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_NONBLOCK)
  } catch {
    return undefined
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

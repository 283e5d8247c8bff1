import type { Logger } from 'pino'
import { flushLog } from './observability/log.ts'

/** Time that transfers get to finish after a fault of ours. */
const faultDrainMs = 10_000

/** Ends the process when its last lines have been written. */
export async function exit(log: Logger, code: number): Promise<void> {
  await flushLog(log)
  process.exit(code)
}

/** A fault that nobody foresaw leaves unknown state behind: no new work, a short drain, and out. */
export function stopOnFault(log: Logger, stop: () => Promise<void>): void {
  process.once('uncaughtException', (error) => {
    log.error({ err: error }, 'unforeseen fault: stopping')
    setTimeout(() => process.exit(1), faultDrainMs).unref()
    const end = (): void => void exit(log, 1)
    void stop().then(end, end)
  })
}

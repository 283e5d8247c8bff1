import { setTimeout as sleep } from 'node:timers/promises'
import { StartupError } from '../../src/lib/startup-error.ts'
import { openChannel } from '../../src/workers/channel.ts'
import { processPort } from '../../src/workers/process-port.ts'
import type { PrimaryHandlers, WorkerHandlers } from '../../src/workers/protocol.ts'

// A worker that serves nobody, and starts as its argument says.

const listens = async (): Promise<string> => 'http://test'
const starts: Readonly<Record<string, () => Promise<string>>> = {
  listens,
  dies: async () => process.exit(70),
  refuses: async () => {
    throw new StartupError('the file cannot be read')
  },
  waits: async () => {
    await sleep(600_000)
    return ''
  },
}

const handlers: WorkerHandlers = {
  start: starts[process.argv[2] ?? ''] ?? listens,
  stop: () => process.exit(0),
  snapshot: async () => [],
  ping() {},
}
const primary = openChannel<PrimaryHandlers>(processPort(process), handlers)
process.on('SIGWINCH', () => primary.tell('leaving'))

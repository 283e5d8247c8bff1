/*
 * Collects again and again in a process of its own: `node collector.ts ROOT COUNT`. Prints one line of
 * JSON for each collection.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { pino } from 'pino'
import { collect } from '../../src/registry/collection/collection.ts'
import { createFilesystemDriver } from '../../src/storage/filesystem.ts'

const [root = '', count = '1'] = process.argv.slice(2)
const driver = createFilesystemDriver({ root })
const log = pino({ level: 'warn' }, process.stderr)
const graces = [0, 0, 200, 0, 1000]

for (let index = 0; index < Number(count); index += 1) {
  const graceMs = graces[index % graces.length] ?? 0
  const options = { graceMs, untagged: 'delete', dryRun: false } as const
  const report = await collect({ driver, log, options })
  process.stdout.write(`${JSON.stringify({ removed: report?.blobs.removed })}\n`)
  await delay(100)
}

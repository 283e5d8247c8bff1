import { Argument, type Command } from 'commander'
import type { StorageDriver } from '../storage/driver.ts'
import { readonlyMark } from '../storage/layout.ts'
import { configArgument, type OpenStore, requireStore, runStoreWork } from './store-command.ts'

export type ReadonlyChange = 'on' | 'off' | 'status'

/** Adds `readonly` to the command line. */
export function registerReadonlyCommand(program: Command, open: OpenStore): void {
  program
    .command('readonly')
    .summary('refuse pushes for a while, as for a backup')
    .description(
      'Make the store read-only, or writable again, for every server on it, at once and without a ' +
        'restart. Pulls go on, and uploads in progress may finish.',
    )
    .addArgument(new Argument('<change>', 'what to do').choices(['on', 'off', 'status']))
    .argument(...configArgument)
    .action(async (change: ReadonlyChange, file: string | undefined) => {
      const store = await requireStore(open, file, change === 'status' ? 'read' : 'write')
      await runStoreWork(async () => {
        const state = await changeReadonly(store.driver, change)
        process.stdout.write(`store ${store.rootdirectory}\n${state}\n`)
      })
    })
}

/** Sets or removes the mark that every process on the store obeys; resolves with what to tell. */
export async function changeReadonly(
  driver: StorageDriver,
  change: ReadonlyChange,
): Promise<string> {
  const wasOn = (await driver.stat(readonlyMark)) !== undefined
  if (change === 'on' && !wasOn) await driver.write(readonlyMark, '')
  if (change === 'off' && wasOn) await driver.remove(readonlyMark, { durable: true })
  const isOn = change === 'status' ? wasOn : change === 'on'
  const state = isOn
    ? 'the store is read-only: pushes and deletions are refused, pulls go on'
    : 'the store is writable, unless storage.maintenance.readonly of a server says otherwise'
  return change !== 'status' && wasOn === isOn ? `${state} (it was already)` : state
}

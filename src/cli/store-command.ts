import { StartupError } from '../lib/startup-error.ts'
import type { CollectionOptions } from '../registry/collection/collection.ts'
import { isSystemRefusal } from '../registry/unreadable.ts'
import type { StorageDriver } from '../storage/driver.ts'
import { readonlyMark } from '../storage/layout.ts'

/** What the commands that work on the store need of a configuration. */
export type ConfiguredStore = {
  readonly driver: StorageDriver
  /** Absolute path of its folder, for reports: what was looked at is part of what was found. */
  readonly rootdirectory: string
  /** `storage.maintenance.readonly.enabled`. */
  readonly readonly: boolean
  /** `storage.gc`. */
  readonly gc: Omit<CollectionOptions, 'dryRun'>
}

/** Loads a configuration; `upstream` is the URL of one that has no store. @throws StartupError */
export type OpenStore = (
  file: string | undefined,
  use: 'read' | 'write',
) => Promise<ConfiguredStore | { readonly upstream: string }>

/** The store of a configuration. @throws StartupError when it has none */
export async function requireStore(
  open: OpenStore,
  ...configured: Parameters<OpenStore>
): Promise<ConfiguredStore> {
  const store = await open(...configured)
  if ('driver' in store) return store
  throw new StartupError(
    `upstream.url: ${store.upstream}: this configuration forwards to another registry, which has the ` +
      'store; run this where that registry is, or name a configuration without `upstream`',
  )
}

/** What shells and schedulers know as "try again later" (EX_TEMPFAIL). */
const busyExitCode = 75

/** Says that a collection or repair is under way, beside which this may not run. */
export function reportBusy(): void {
  process.stderr.write(
    'tidegate: a collection or repair of this store is under way; try again when it has ended\n',
  )
  process.exitCode = busyExitCode
}

/**
 * True, with the exit code set and the reason said, if the store may not change now. Who made it so, as
 * for a backup, relies on nothing being removed meanwhile.
 */
export async function refusesChange({
  driver,
  readonly,
}: Pick<ConfiguredStore, 'driver' | 'readonly'>): Promise<boolean> {
  const isMarked = (await driver.stat(readonlyMark)) !== undefined
  if (!isMarked && !readonly) return false
  const remedy = isMarked
    ? 'when nobody needs that any more: tidegate readonly off'
    : 'storage.maintenance.readonly.enabled says so'
  process.stderr.write(`tidegate: the store is read-only, so nothing in it is changed; ${remedy}\n`)
  process.exitCode = busyExitCode
  return true
}

/** Prints a report: JSON for machines, or lines for people, both with the folder first. */
export function printReport(
  { rootdirectory }: Pick<ConfiguredStore, 'rootdirectory'>,
  report: object,
  lines: readonly string[] | undefined,
): void {
  const text =
    lines === undefined
      ? JSON.stringify({ rootdirectory, ...report }, undefined, 2)
      : [`store ${rootdirectory}`, ...lines].join('\n')
  process.stdout.write(`${text}\n`)
}

export const configArgument = [
  '[config]',
  'configuration file; without one REGISTRY_CONFIGURATION_PATH and REGISTRY_* count',
] as const

/** What the system refused; sysexits EX_IOERR. */
export const systemExitCode = 74
/** What shells report for a command that Ctrl-C ended. */
const interruptedExitCode = 130

/**
 * Runs `work` until it is done, or until SIGINT or SIGTERM asks it to stop, which it does in good order.
 * What the system refuses is one line, and an exit code of its own.
 */
export async function runStoreWork(work: (signal: AbortSignal) => Promise<void>): Promise<void> {
  const stop = new AbortController()
  const abort = (): void => stop.abort()
  process.once('SIGINT', abort).once('SIGTERM', abort)
  try {
    await work(stop.signal)
  } catch (error) {
    if (!stop.signal.aborted && !isSystemRefusal(error)) throw error
    const message = stop.signal.aborted
      ? 'stopped before the end; what it has done so far is safe, run it again'
      : `${refusalOf(error)}; what it has done so far is safe: mend that, then run it again`
    process.stderr.write(`tidegate: ${message}\n`)
    process.exitCode = stop.signal.aborted ? interruptedExitCode : systemExitCode
  } finally {
    process.off('SIGINT', abort).off('SIGTERM', abort)
  }
}

/** What the system said, which the errors around it may leave out, in the words that tell the most. */
function refusalOf(error: unknown): string {
  const messages: string[] = []
  for (let at = error; at instanceof Error; at = at.cause) messages.push(at.message)
  const innermost = messages.at(-1) ?? String(error)
  return messages.find((message) => message.includes(innermost)) ?? innermost
}

const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']

/** A number of bytes for people, such as `1.5 GiB`. */
export function describeBytes(bytes: number): string {
  let size = bytes
  let unit = 0
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024
    unit += 1
  }
  return `${unit === 0 ? size : size.toFixed(1)} ${units[unit]}`
}

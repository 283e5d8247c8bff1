import { type Command, Option } from 'commander'
import { StartupError } from '../lib/startup-error.ts'
import { formatDuration, parseDuration } from '../lib/units.ts'
import { createLog } from '../observability/log.ts'
import { type CollectionOptions, collect } from '../registry/collection/collection.ts'
import type { CollectionReport, NameList } from '../registry/collection/report.ts'
import {
  type ConfiguredStore,
  configArgument,
  describeBytes,
  type OpenStore,
  printReport,
  refusesChange,
  reportBusy,
  requireStore,
  runStoreWork,
} from './store-command.ts'

export type GcFlags = {
  readonly dryRun?: boolean
  readonly grace?: string
  readonly untagged?: 'keep' | 'delete'
  readonly json?: boolean
}

/** Adds `gc` to the command line. */
export function registerGcCommand(program: Command, open: OpenStore): void {
  program
    .command('gc')
    .summary('remove what nothing in the store refers to, while it serves')
    .description(
      'Remove blobs, layer links and empty repositories that nothing refers to any more, and on ' +
        'request manifests without a tag. Servers may go on, pushes included. Exits with 75 while ' +
        'another collection is under way, or the store is read-only.',
    )
    .argument(...configArgument)
    .option('--dry-run', 'only tell what would be removed')
    .option('--grace <duration>', 'keep what is younger, as in 30m or 2h (storage.gc.grace)')
    .addOption(
      new Option(
        '--untagged <what>',
        'manifests that no tag, index or subject keeps (storage.gc.untagged)',
      ).choices(['keep', 'delete']),
    )
    .option('--json', 'print a report as JSON')
    .action(async (file: string | undefined, flags: GcFlags) => {
      const store = await requireStore(open, file, flags.dryRun ? 'read' : 'write')
      const options = gcOptions(store.gc, flags)
      await runStoreWork((signal) => runGc(store, options, { signal, json: flags.json ?? false }))
    })
}

/** What the configuration says and the flags override. @throws StartupError for a grace that is none */
export function gcOptions(configured: ConfiguredStore['gc'], flags: GcFlags): CollectionOptions {
  return {
    graceMs: flags.grace === undefined ? configured.graceMs : parseGrace(flags.grace),
    untagged: flags.untagged ?? configured.untagged,
    dryRun: flags.dryRun ?? false,
  }
}

function parseGrace(text: string): number {
  try {
    return parseDuration(text)
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause
    throw new StartupError(`--grace: ${JSON.stringify(text)}: ${cause.message}`, { cause })
  }
}

async function runGc(
  store: ConfiguredStore,
  options: CollectionOptions,
  { signal, json }: { readonly signal: AbortSignal; readonly json: boolean },
): Promise<void> {
  if (!options.dryRun && (await refusesChange(store))) return
  const { driver } = store
  const log = createLog({ level: 'warn', formatter: 'text', fields: {} }, process.stderr)
  const report = await collect({ driver, log, options, signal })
  if (report === undefined) return reportBusy()
  printReport(store, report, json ? undefined : describeCollection(report))
}

/** A report for people, line by line. */
export function describeCollection(report: CollectionReport): readonly string[] {
  const { dryRun, manifests, layerLinks, blobs, repositories, removed, unreadable } = report
  const verb = dryRun ? 'would be removed' : 'removed'
  const line = (what: string, { kept, removed: gone }: { kept: number; removed: number }): string =>
    `${what.padEnd(14)}${String(gone).padStart(8)} ${verb}, ${kept} kept`
  return [
    ...(dryRun ? nameLines(removed) : []),
    line('repositories', repositories),
    line('manifests', manifests),
    line('layer links', layerLinks),
    `${line('blobs', blobs)}: ${describeBytes(blobs.removedBytes)} of ${describeBytes(blobs.keptBytes + blobs.removedBytes)} ${dryRun ? 'would be freed' : 'freed'}`,
    ...(report.spared > 0 ? [`${report.spared} came into use meanwhile and stayed`] : []),
    ...(report.left > 0 ? [`${report.left} are left to the next collection`] : []),
    ...unreadable.names.map(
      (name) => `${name}: kept whole, as a manifest in it cannot be read; see: tidegate fsck`,
    ),
    ...moreLine(unreadable),
    `${report.untagged === 'keep' ? 'untagged manifests kept' : 'untagged manifests removed'}, ` +
      `nothing younger than ${formatDuration(report.graceMs)}; took ${formatDuration(report.durationMs)}`,
  ]
}

function nameLines(removed: CollectionReport['removed']): string[] {
  const section = (what: string, list: NameList): string[] => [
    ...list.names.map((name) => `${what} ${name}`),
    ...moreLine(list),
  ]
  return [
    ...section('repository', removed.repositories),
    ...section('manifest', removed.manifests),
    ...section('layer link', removed.layerLinks),
    ...section('blob', removed.blobs),
  ]
}

function moreLine({ more }: NameList): string[] {
  return more > 0 ? [`… and ${more} more`] : []
}

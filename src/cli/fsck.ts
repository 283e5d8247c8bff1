import type { Command } from 'commander'
import { formatDuration } from '../lib/units.ts'
import { type CheckReport, checkStore } from '../registry/check/check.ts'
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

type FsckFlags = {
  readonly repair?: boolean
  readonly rehash?: boolean
  readonly json?: boolean
}

/** Adds `fsck` to the command line. */
export function registerFsckCommand(program: Command, open: OpenStore): void {
  program
    .command('fsck')
    .summary('check the store, and mend it on request')
    .description(
      'Look for links that are empty or lead nowhere, tags without a meaning, temporary files, ' +
        'leaked uploads, incomplete manifests and damaged blobs. Servers may go on. Exits with 1 if ' +
        'problems remain, with 75 if a repair meets a collection or a read-only store.',
    )
    .argument(...configArgument)
    .option('--repair', 'mend what can be mended')
    .option('--rehash', 'read every blob and compare its content with its name')
    .option('--json', 'print a report as JSON')
    .action(async (file: string | undefined, flags: FsckFlags) => {
      const store = await requireStore(open, file, flags.repair ? 'write' : 'read')
      await runStoreWork((signal) => runFsck(store, flags, signal))
    })
}

async function runFsck(
  store: ConfiguredStore,
  { repair = false, rehash = false, json = false }: FsckFlags,
  signal: AbortSignal,
): Promise<void> {
  if (repair && (await refusesChange(store))) return
  const { driver } = store
  const report = await checkStore({ driver, repair, rehash, signal })
  if (report === undefined) return reportBusy()
  printReport(store, report, json ? undefined : describeCheck(report))
  if (report.remaining > 0) process.exitCode = 1
}

/** A report for people, line by line, the summary last. */
export function describeCheck(report: CheckReport): readonly string[] {
  const { checked, problems, repaired, remaining, repair } = report
  const lines = problems.map(({ kind, path, detail, repaired: isRepaired }) =>
    [`${kind}: ${path}`, detail, isRepaired ? 'repaired' : undefined]
      .filter((part) => part !== undefined)
      .join('; '),
  )
  const advice =
    remaining > 0 && !repair ? '; to mend what can be mended: tidegate fsck --repair' : ''
  return [
    ...lines,
    `looked at ${checked.repositories} repositories, ${checked.manifests} manifests, ` +
      `${checked.tags} tags, ${checked.layerLinks} layer links and ${checked.blobs} blobs ` +
      `(${describeBytes(checked.bytes)}) in ${formatDuration(report.durationMs)}` +
      (report.rehash ? ', every byte' : ''),
    remaining === 0 && repaired === 0
      ? 'the store is in order'
      : `${repaired} problems repaired, ${remaining} remain${advice}`,
  ]
}

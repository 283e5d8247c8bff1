import { constants } from 'node:fs'
import { access } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import type { Logger } from 'pino'
import type { OpenBackend } from './app-upstream.ts'
import type { Config } from './config/schema.ts'
import { createEmbeddedBackend } from './http/embedded/backend.ts'
import { describeWriteProblem } from './lib/file-problem.ts'
import { StartupError } from './lib/startup-error.ts'
import { createAdmission } from './registry/admission.ts'
import type { CollectionOptions } from './registry/collection.ts'
import { type MaintenanceParts, startMaintenance } from './registry/maintenance.ts'
import { createRegistry } from './registry/registry.ts'
import type { StorageDriver } from './storage/driver.ts'
import { createFilesystemDriver } from './storage/filesystem.ts'

/** The backend that is a registry itself, on `storage`. @throws StartupError for a folder that cannot be used */
export async function openStore(config: Config, log: Logger): Promise<OpenBackend> {
  const { http, storage, catalog, tags } = config
  const driver = await openDriver(config)
  const { minfree } = storage.filesystem
  const admission = createAdmission(driver, {
    readonly: storage.maintenance.readonly.enabled,
    deleteEnabled: storage.delete.enabled,
    minFree: (total) => ('bytes' in minfree ? minfree.bytes : (total * minfree.percent) / 100),
  })
  const registry = createRegistry({ driver, admission })
  const backend = createEmbeddedBackend(registry, {
    relative: http.relativeurls && http.host === undefined,
    idleTimeoutMs: http.timeouts.idle,
    maxBodyBytes: http.maxbodysize,
    maxManifestBytes: storage.maxmanifestsize,
    maxTags: tags.maxtags,
    maxCatalog: catalog.maxentries,
  })
  return {
    backend,
    startUpkeep: () =>
      startMaintenance({ driver, log, isReadonly: admission.isReadonly, ...upkeepOf(config) }),
    [Symbol.dispose]: () => {},
  }
}

function upkeepOf({ storage }: Config): Pick<MaintenanceParts, 'purge' | 'gc'> {
  const { enabled, age, interval, dryrun } = storage.maintenance.uploadpurging
  const intervalMs = storage.gc.interval
  return {
    purge: enabled ? { intervalMs: interval, ageMs: age, dryRun: dryrun } : undefined,
    gc: intervalMs === undefined ? undefined : { intervalMs, ...collectionOf({ storage }) },
  }
}

/** How `storage.gc` wants the store to be collected. */
export function collectionOf({
  storage,
}: Pick<Config, 'storage'>): Omit<CollectionOptions, 'dryRun'> {
  return { graceMs: storage.gc.grace, untagged: storage.gc.untagged }
}

/** The driver of `storage`. @throws StartupError for a folder that cannot be used */
export async function openDriver({ storage }: Pick<Config, 'storage'>): Promise<StorageDriver> {
  const root = resolve(storage.filesystem.rootdirectory)
  await requireWritable(root, root)
  return createFilesystemDriver({ root })
}

/** The folder itself need not exist, but then it must be possible to make it. */
async function requireWritable(folder: string, root: string): Promise<void> {
  try {
    await access(folder, constants.R_OK | constants.W_OK | constants.X_OK)
  } catch (cause) {
    const isAbsent = cause instanceof Error && 'code' in cause && cause.code === 'ENOENT'
    if (isAbsent && folder !== dirname(folder)) return await requireWritable(dirname(folder), root)
    const problem = `${folder} ${describeWriteProblem(cause)}`
    throw new StartupError(`storage.filesystem.rootdirectory: ${problem}`, { cause })
  }
}

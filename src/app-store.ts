import { constants, type Stats } from 'node:fs'
import { access, lstat, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Logger } from 'pino'
import type { OpenBackend } from './app-upstream.ts'
import type { Config } from './config/schema.ts'
import { createEmbeddedBackend } from './http/embedded/backend.ts'
import { describeReadProblem, describeWriteProblem } from './lib/file-problem.ts'
import { StartupError } from './lib/startup-error.ts'
import { createAdmission } from './registry/admission.ts'
import type { CollectionOptions } from './registry/collection/collection.ts'
import { type MaintenanceParts, startMaintenance } from './registry/maintenance.ts'
import { createRegistry } from './registry/registry.ts'
import type { StorageDriver } from './storage/driver.ts'
import { createFilesystemDriver } from './storage/filesystem.ts'
import { blobsRoot, repositoriesRoot } from './storage/layout.ts'

/** The backend that is a registry itself, on `storage`. @throws StartupError for a folder that cannot be used */
export async function openStore(config: Config, log: Logger): Promise<OpenBackend> {
  const { http, storage, catalog, tags } = config
  const readonly = storage.maintenance.readonly.enabled
  const driver = await openDriver(config, readonly ? 'read' : 'write')
  const { minfree } = storage.filesystem
  const admission = createAdmission(driver, {
    readonly,
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
    startUpkeep() {
      const parts = { driver, log, isReadonly: admission.isReadonly, ...upkeepOf(config) }
      if (!readonly) return startMaintenance(parts)
      log.info('read-only by configuration: no uploads are purged, and nothing is collected')
      return undefined
    },
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

/** What a user of the store does with it. */
export type StoreUse = 'read' | 'write'

/** The driver of `storage`. @throws StartupError for a folder that cannot be used so */
export async function openDriver(
  { storage }: Pick<Config, 'storage'>,
  use: StoreUse,
): Promise<StorageDriver> {
  const root = storage.filesystem.rootdirectory
  await requireUsable(root, use)
  return createFilesystemDriver({ root })
}

/**
 * Refuses a folder in which there is no store yet: to a server it is an empty one, but who checks or
 * collects it has named the wrong folder.
 * @throws StartupError
 */
export async function requireExisting({ storage }: Pick<Config, 'storage'>): Promise<void> {
  const folder = join(storage.filesystem.rootdirectory, dirname(blobsRoot))
  if ((await statOf(folder))?.isDirectory()) return
  throw problem(
    `${folder} is not there, so this is not the folder of a registry that has been used; name the ` +
      'configuration file of the registry as the argument, or set REGISTRY_CONFIGURATION_PATH or ' +
      'REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY',
  )
}

/**
 * The folder itself need not exist, but then it must be possible to make it. So with those in it, which
 * may have an owner of their own, as after a `chown` of the folder alone.
 */
async function requireUsable(root: string, use: StoreUse): Promise<void> {
  const inside = [dirname(blobsRoot), blobsRoot, repositoriesRoot].map((path) => join(root, path))
  const folders = new Set<string>()
  for (const path of [root, ...inside]) folders.add(await nearestOf(path))
  for (const folder of folders) await requireUsableFolder(folder, use)
}

/** What is at a path, or else the folder in which it would be made. */
async function nearestOf(path: string): Promise<string> {
  if ((await statOf(path)) !== undefined || path === dirname(path)) return path
  const isLink = await lstat(path).then(
    () => true,
    () => false,
  )
  if (!isLink) return await nearestOf(dirname(path))
  throw problem(
    `${path} is a symbolic link to what does not exist; check the mount that should bring it`,
  )
}

async function requireUsableFolder(folder: string, use: StoreUse): Promise<void> {
  if (!(await statOf(folder))?.isDirectory()) {
    throw problem(`${folder} is a file, not a folder; name the folder that holds the store`)
  }
  const { R_OK, W_OK, X_OK } = constants
  const mode = use === 'write' ? R_OK | W_OK | X_OK : R_OK | X_OK
  await access(folder, mode).catch((cause: unknown) => {
    const reason = use === 'write' ? describeWriteProblem(cause) : describeReadProblem(cause)
    throw problem(`${folder} ${reason}`, { cause })
  })
}

/** What is at a path; undefined if there is nothing. */
async function statOf(path: string): Promise<Stats | undefined> {
  try {
    return await stat(path)
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? cause.code : undefined
    // Below a file there is nothing either; who climbs finds the file.
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    throw problem(`${path} ${describeReadProblem(cause)}`, { cause })
  }
}

function problem(text: string, options?: ErrorOptions): StartupError {
  return new StartupError(`storage.filesystem.rootdirectory: ${text}`, options)
}

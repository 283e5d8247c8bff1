import { constants } from 'node:fs'
import { access } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import type { Config } from './config/schema.ts'
import { createEmbeddedBackend } from './http/embedded/backend.ts'
import type { Backend } from './http/pipeline.ts'
import { describeWriteProblem } from './lib/file-problem.ts'
import { StartupError } from './lib/startup-error.ts'
import { createAdmission } from './registry/admission.ts'
import { createRegistry } from './registry/registry.ts'
import type { StorageDriver } from './storage/driver.ts'
import { createFilesystemDriver } from './storage/filesystem.ts'

/** The backend that is a registry itself, on `storage`. @throws StartupError for a folder that cannot be used */
export async function openStore(config: Config): Promise<Backend & Disposable> {
  const { http, storage, catalog, tags } = config
  const driver = await openDriver(config)
  const { minfree } = storage.filesystem
  const registry = createRegistry({
    driver,
    admission: createAdmission(driver, {
      readonly: storage.maintenance.readonly.enabled,
      deleteEnabled: storage.delete.enabled,
      minFree: (total) => ('bytes' in minfree ? minfree.bytes : (total * minfree.percent) / 100),
    }),
  })
  const backend = createEmbeddedBackend(registry, {
    relative: http.relativeurls && http.host === undefined,
    idleTimeoutMs: http.timeouts.idle,
    maxBodyBytes: http.maxbodysize,
    maxManifestBytes: storage.maxmanifestsize,
    maxTags: tags.maxtags,
    maxCatalog: catalog.maxentries,
  })
  return { ...backend, [Symbol.dispose]: () => {} }
}

/** The driver of `storage`. @throws StartupError for a folder that cannot be used */
export async function openDriver({ storage }: Config): Promise<StorageDriver> {
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

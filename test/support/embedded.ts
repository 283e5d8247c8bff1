import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Front, startFront } from './front.ts'

export type Embedded = Front & {
  /** Folder of its store. */
  readonly root: string
}

/** A whole Tidegate with the registry of its own, deletion enabled, on a new folder. */
export async function startEmbedded(overrides: Record<string, unknown> = {}): Promise<Embedded> {
  const directory = await mkdtempDisposable(join(tmpdir(), 'tidegate-store-'))
  const front = await startFront(undefined, {
    'storage.filesystem.rootdirectory': directory.path,
    'storage.delete.enabled': 'true',
    ...overrides,
  })
  const stop = async (): Promise<void> => {
    await front.stop()
    await directory.remove()
  }
  return { ...front, root: directory.path, stop, [Symbol.asyncDispose]: stop }
}

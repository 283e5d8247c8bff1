import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, rmdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

export type SmallDisk = AsyncDisposable & { readonly path: string }

/** A file system of its own at `path`, or in a temporary folder, with options such as `size=1m`. */
export async function mountSmallDisk(options: string, path?: string): Promise<SmallDisk> {
  if (path !== undefined) await mkdir(path, { recursive: true })
  const place = path ?? (await mkdtemp(join(tmpdir(), 'tidegate-disk-')))
  try {
    await run('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', place])
  } catch (error) {
    await rmdir(place)
    throw error
  }
  return {
    path: place,
    async [Symbol.asyncDispose]() {
      // Lazily, so that a file that a failed test left open does not keep it.
      await run('umount', ['--lazy', place])
      await rmdir(place)
    },
  }
}

/** Why no file system can be mounted here; undefined if one can. */
export async function smallDiskProblem(): Promise<string | undefined> {
  try {
    await using _disk = await mountSmallDisk('size=64k')
    return undefined
  } catch {
    return 'only root may mount a small disk'
  }
}

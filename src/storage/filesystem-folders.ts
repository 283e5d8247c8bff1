import { randomUUID } from 'node:crypto'
import type { Dirent } from 'node:fs'
import { lstat, mkdir, readdir, rename, rmdir, unlink } from 'node:fs/promises'
import { dirname } from 'node:path'
import { errorCode, ifPresent, isAbsence } from './filesystem-errors.ts'

/** How often a folder may vanish between being made and being used before that is an error. */
const maxAttempts = 300

/**
 * Runs `attempt`, which needs `folder`. If that is missing it is made, with those above it, as often as
 * it takes: a collection beside us removes folders in which there is nothing.
 */
export async function inFolder<T>(folder: string, attempt: () => Promise<T>): Promise<T> {
  for (let left = maxAttempts; ; left -= 1) {
    try {
      return await attempt()
    } catch (error) {
      if (errorCode(error) !== 'ENOENT' || left === 0) throw error
    }
    await makeFolder(folder)
  }
}

/**
 * Makes a folder and those above it. That it is there afterwards is for the caller to find out: by then
 * it, or one above it, may have gone again. `recursive` of Node takes that for a file in the way.
 */
async function makeFolder(path: string): Promise<void> {
  if (await makeOne(path)) return
  await makeFolder(dirname(path))
  await makeOne(path)
}

/** Makes one folder; false if the one above it is missing. */
async function makeOne(path: string): Promise<boolean> {
  try {
    await mkdir(path)
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return false
    if (errorCode(error) !== 'EEXIST') throw error
  }
  return true
}

/** Renames a file or folder and makes the folders above `to`; false if `from` is not there. */
export function relocate(from: string, to: string): Promise<boolean> {
  return inFolder(dirname(to), async () => {
    try {
      await rename(from, to)
      return true
    } catch (error) {
      // The system says the same when `from` is missing and when the folder of `to` is.
      if (isAbsence(error) && (await ifPresent(lstat(from))) === undefined) return false
      throw error
    }
  })
}

/**
 * Lets `make` make a file under a name of its own, and puts that file in the place of `target` when it
 * is whole. Nothing is left if that fails.
 */
export async function replaceWhole(
  target: string,
  make: (temporary: string) => Promise<void>,
): Promise<void> {
  const temporary = `${target}.${randomUUID()}.tmp`
  try {
    await make(temporary)
    await rename(temporary, target)
  } catch (error) {
    await unlink(temporary).catch(() => {})
    throw error
  }
}

/**
 * Removes a folder and all that is in it; somebody else may be at it too. Files first and by name, so
 * that one that is removed in its place is no longer what it was from the first step on: `link`, `data`
 * and `current` come before what stands beside them.
 */
export async function removeTree(path: string): Promise<void> {
  const entries = (await ifPresent(readdir(path, { withFileTypes: true }))) ?? []
  const rank = (entry: Dirent): string => `${Number(entry.isDirectory())}${entry.name}`
  for (const entry of entries.sort((a, b) => (rank(a) < rank(b) ? -1 : 1))) {
    const inner = `${path}/${entry.name}`
    await (entry.isDirectory() ? removeTree(inner) : ifPresent(unlink(inner)))
  }
  await ifPresent(rmdir(path))
}

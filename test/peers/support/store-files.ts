import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { blobsRoot } from '../../../src/storage/layout.ts'

/** Every file below a folder of the store, by its path in there. */
export async function filesIn(store: string, root: string): Promise<string[]> {
  const folder = join(store, root)
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .sort()
}

/** Digests of all the bytes that the store holds. */
export async function storedDigests(store: string): Promise<string[]> {
  const files = await filesIn(store, blobsRoot)
  return files.map((path) => path.replace(/^(\w+)\/..\/(\w+)\/data$/, '$1:$2')).sort()
}

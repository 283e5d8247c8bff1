import type { RepoName } from '../../lib/names.ts'
import type { StorageDriver, StoragePath } from '../../storage/driver.ts'
import { layers, manifests, repository, uploads } from '../../storage/layout.ts'
import { foldersIn } from '../store-walk.ts'

/**
 * Removes the folders of repositories in which there is no file any more; true for each that is gone.
 * Only what is empty goes, so a push that begins there meanwhile is not hurt: it makes its folders anew.
 */
export async function pruneRepository(driver: StorageDriver, name: RepoName): Promise<boolean> {
  const parts = [manifests(name), layers(name), uploads(name)]
  const gone: boolean[] = []
  for (const part of parts) gone.push(await pruneTree(driver, part))
  return gone.every(Boolean)
}

/** Removes the folders above repositories that went, those deepest down first. */
export async function pruneFolders(
  driver: StorageDriver,
  folders: readonly RepoName[],
): Promise<void> {
  for (const name of folders.toReversed()) await driver.removeEmpty(repository(name))
}

/** Removes a folder if there are only folders in it; true if it is not there afterwards. */
async function pruneTree(driver: StorageDriver, path: StoragePath): Promise<boolean> {
  for (const name of await foldersIn(driver, path)) await pruneTree(driver, `${path}/${name}`)
  return (await driver.removeEmpty(path)) || (await driver.stat(path)) === undefined
}

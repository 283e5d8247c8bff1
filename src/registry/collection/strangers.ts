import type { StorageDriver, StoragePath } from '../../storage/driver.ts'
import { parseLink } from '../links.ts'
import { readReferences } from '../stored-references.ts'
import type { Marks } from './mark.ts'

/**
 * Marks what a folder refers to that is no repository by its name, such as `team/App.old`. Nobody can
 * pull from it, but somebody put it there, and might put it back.
 */
export async function markStranger(
  driver: StorageDriver,
  path: StoragePath,
  { blobs }: Pick<Marks, 'blobs'>,
): Promise<void> {
  for (const { name, kind } of (await driver.list(path)) ?? []) {
    const inner = `${path}/${name}`
    if (kind === 'folder') await markStranger(driver, inner, { blobs })
    else if (name === 'link') {
      const file = await driver.read(inner)
      const digest = file && parseLink(file.content)
      if (digest === undefined) continue
      const references = await readReferences(driver, digest, `${path}/mediatype`)
      for (const used of [digest, ...references.blobs, ...references.manifests]) blobs.add(used)
    }
  }
}

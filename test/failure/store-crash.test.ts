import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { crashRepeatedly } from '../support/store-crash.ts'
import { checkLater } from '../support/store-leftovers.ts'
import { faultsOf, readStore } from '../support/store-tree.ts'

test.serial(
  'crash: of a server killed 25 times under pushes nothing promised is lost and nothing seen is wrong',
  async (t) => {
    await using folder = await mkdtempDisposable(join(tmpdir(), 'tidegate-crash-'))
    const root = folder.path
    let promises = 0
    const broken = await crashRepeatedly({
      root,
      rounds: 25,
      seed: 1225,
      clients: 6,
      maxLifeMs: 400,
      onRound: (_, { blobs, manifests }) => {
        promises = blobs.size + manifests.size
      },
    })
    t.deepEqual(broken, [])
    t.log(`${promises} blobs and manifests were acknowledged`)
    t.true(promises > 100)
    const tree = await readStore(root)
    t.deepEqual(faultsOf(tree), [])
    const { found, left } = await checkLater(root)
    // Folders whose link was to come, among them; a link that is empty would be a fault above.
    t.log(`fsck found ${JSON.stringify(found)}`)
    const expected = [
      'temporary-file',
      'upload-leaked',
      'blob-empty-folder',
      'tag-without-current',
      'link-empty',
    ]
    t.deepEqual(
      Object.keys(found).filter((kind) => !expected.includes(kind)),
      [],
    )
    t.deepEqual(left, {})
    const mended = await readStore(root)
    t.deepEqual(faultsOf(mended), [])
    t.deepEqual(mended.uploads, [])
    // What the last one was removing as it was killed is for the next server to remove.
    t.deepEqual(
      mended.others.filter((path) => !path.startsWith('tidegate/trash/')),
      [],
    )
  },
)

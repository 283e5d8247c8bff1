import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { crashRepeatedly } from '../support/store-crash.ts'
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
    // Beside the tree only what was under way when the server was killed.
    t.deepEqual(
      tree.others.filter((path) => !/\.tmp$|^tidegate\/(?:trash|sweeps)\//.test(path)),
      [],
    )
  },
)

import { resolve } from 'node:path'
import { parseDuration } from '../lib/units.ts'
import { bool, choice, scalar, section } from './fields.ts'
import { parseDiskShare, parseLongTimeLimit, parseManifestLimit } from './values.ts'

const longTimeLimit = scalar('duration', parseLongTimeLimit)

/** `storage`: the registry of our own, on registry:2's folder layout. */
export const storage = section({
  filesystem: section({
    rootdirectory: scalar('path', (text) => resolve(text))
      .prefault('/var/lib/registry')
      .describe(
        'Folder of the store, in registry:2’s layout: a volume of registry:2 can be used as it is.',
      ),
    minfree: scalar('size | percentage', parseDiskShare)
      .prefault('1%')
      .describe(
        'Free space, as a size or a percentage of the disk, below which no upload begins; pulls go on. 0 turns it off.',
      ),
  })
    .prefault({})
    .describe('A store in a local folder.'),
  maxmanifestsize: scalar('size', parseManifestLimit)
    .prefault('4MiB')
    .describe('Largest manifest; larger ones get 413.'),
  delete: section({
    enabled: bool
      .prefault('false')
      .describe('Lets clients delete manifests, tags and blobs. registry:2’s default.'),
  })
    .prefault({})
    .describe('Deletion by clients. It takes names away; `gc` takes the bytes.'),
  gc: section({
    interval: longTimeLimit.exactOptional().meta({
      description:
        'How often the server collects what nothing refers to, while it serves. Absent = only `tidegate gc` does.',
      example: '24h',
    }),
    grace: scalar('duration', parseDuration)
      .prefault('1h')
      .describe('Age below which nothing is collected: longer than a push takes.'),
    untagged: choice(['keep', 'delete'])
      .prefault('keep')
      .describe(
        'What becomes of manifests that no tag, no index and no subject keeps: `delete` collects them too.',
      ),
  })
    .prefault({})
    .describe('Collection of what nothing refers to.'),
  maintenance: section({
    uploadpurging: section({
      enabled: bool.prefault('true').describe('Removes upload sessions that nobody goes on with.'),
      age: longTimeLimit
        .prefault('24h')
        .describe(
          'Idle time after which a session is removed. registry:2 has 168h since its begin.',
        ),
      interval: longTimeLimit.prefault('1h').describe('How often; the first time is at start.'),
      dryrun: bool.prefault('false').describe('Only logs what would be removed.'),
    })
      .prefault({})
      .describe('Upload sessions that were left behind.'),
    readonly: section({
      enabled: bool
        .prefault('false')
        .describe(
          'Refuses every push and deletion with 405; uploads in progress may finish. While running: `tidegate readonly on`.',
        ),
    })
      .prefault({})
      .describe('Read-only mode.'),
  })
    .prefault({})
    .describe('Upkeep.'),
})

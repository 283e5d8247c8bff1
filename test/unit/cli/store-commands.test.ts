import test from 'ava'
import { pino } from 'pino'
import { describeCheck } from '../../../src/cli/fsck.ts'
import { describeCollection, gcOptions } from '../../../src/cli/gc.ts'
import { changeReadonly } from '../../../src/cli/readonly.ts'
import { describeBytes, requireStore, runStoreWork } from '../../../src/cli/store-command.ts'
import { RegistryError } from '../../../src/lib/errors.ts'
import { StartupError } from '../../../src/lib/startup-error.ts'
import { checkStore } from '../../../src/registry/check/check.ts'
import { collect } from '../../../src/registry/collection/collection.ts'
import { UnreadableError } from '../../../src/registry/unreadable.ts'
import { layerLink, readonlyMark } from '../../../src/storage/layout.ts'
import { createTestStore, digestOf, repo } from '../../support/store.ts'

const log = pino({ level: 'silent' })

test('store commands: a configuration with an upstream has no store, and that is said', async (t) => {
  const open = async () => ({ upstream: 'http://registry:5000' })
  const error = await t.throwsAsync(requireStore(open, undefined, 'read'), {
    instanceOf: StartupError,
  })
  t.regex(error.message, /upstream\.url: http:\/\/registry:5000: /)
})

test('gc: a grace that is no duration is one error that names it and what to write', (t) => {
  const configured = { graceMs: 1, untagged: 'keep' } as const
  const error = t.throws(() => gcOptions(configured, { grace: '90' }), { instanceOf: StartupError })
  t.is(error.message, '--grace: "90": a duration needs a unit, as in 30s, 10m or 1h30m')
})

test('gc: flags come before the configuration', (t) => {
  const configured = { graceMs: 1, untagged: 'keep' } as const
  t.deepEqual(gcOptions(configured, {}), { ...configured, dryRun: false })
  const flags = { grace: '2m', untagged: 'delete', dryRun: true } as const
  t.deepEqual(gcOptions(configured, flags), { graceMs: 120_000, untagged: 'delete', dryRun: true })
})

test('gc: a dry run names what would go, and both say how much', async (t) => {
  await using store = await createTestStore()
  const digest = await store.layer('app', 'x'.repeat(2048))
  await store.age(7_200_000)
  const options = { graceMs: 3_600_000, untagged: 'keep' } as const
  const lines = async (dryRun: boolean): Promise<string> => {
    const report = await collect({ driver: store.driver, log, options: { ...options, dryRun } })
    return report === undefined ? '' : describeCollection(report).join('\n')
  }
  const dry = await lines(true)
  t.true(dry.startsWith(`repository app\nlayer link app@${digest}\nblob ${digest}\n`), dry)
  t.regex(dry, /blobs +1 would be removed, 0 kept: 2\.0 KiB of 2\.0 KiB would be freed/)
  const wet = await lines(false)
  t.notRegex(wet, /would/)
  t.regex(wet, /untagged manifests kept, nothing younger than 1h;/)
})

test('fsck: problems are one line each, and the last line says what remains', async (t) => {
  await using store = await createTestStore()
  const lines = async (repair: boolean): Promise<readonly string[]> => {
    const report = await checkStore({ driver: store.driver, repair, rehash: false })
    return report === undefined ? [] : describeCheck(report)
  }
  t.is((await lines(false)).at(-1), 'the store is in order')
  const link = layerLink(repo('app'), digestOf('gone'))
  await store.file(link, digestOf('gone'))
  const [problem, ...rest] = await lines(false)
  t.is(problem, `link-dangling: ${link}; leads to ${digestOf('gone')}, which is not there`)
  t.regex(rest.at(-1) ?? '', /^0 problems repaired, 1 remain; to mend .*--repair$/)
  const repaired = await lines(true)
  t.true(repaired[0]?.endsWith('; repaired'))
  t.is(repaired.at(-1), '1 problems repaired, 0 remain')
})

test('readonly: the mark is set and removed, and what it did is said', async (t) => {
  await using store = await createTestStore()
  const isMarked = async () => (await store.driver.stat(readonlyMark)) !== undefined
  t.regex(await changeReadonly(store.driver, 'status'), /^the store is writable/)
  t.regex(await changeReadonly(store.driver, 'on'), /^the store is read-only.*pulls go on$/)
  t.true(await isMarked())
  t.regex(await changeReadonly(store.driver, 'on'), /already/)
  t.regex(await changeReadonly(store.driver, 'status'), /read-only/)
  t.regex(await changeReadonly(store.driver, 'off'), /writable/)
  t.false(await isMarked())
})

test.serial(
  'store commands: what the system refuses is an exit code, a fault of ours is thrown',
  async (t) => {
    t.teardown(() => {
      process.exitCode = 0
    })
    const refused = Object.assign(new Error('EACCES: permission denied'), {
      ...{ code: 'EACCES', syscall: 'open' },
    })
    await runStoreWork(() => Promise.reject(refused))
    t.is(process.exitCode, 74)
    process.exitCode = 0
    await runStoreWork(() => Promise.reject(new RegistryError('STORAGE_FULL')))
    t.is(process.exitCode, 74)
    process.exitCode = 0
    await runStoreWork(() => Promise.reject(new UnreadableError('/blobs', 'is not there')))
    t.is(process.exitCode, 74)
    const misuse = Object.assign(new TypeError('ours'), { code: 'ERR_INVALID_ARG_TYPE' })
    await t.throwsAsync(
      runStoreWork(() => Promise.reject(misuse)),
      { is: misuse },
    )
    await t.throwsAsync(
      runStoreWork(() => Promise.reject(new TypeError('ours'))),
      { message: 'ours' },
    )
    const bad = new StartupError('no')
    await t.throwsAsync(
      runStoreWork(() => Promise.reject(bad)),
      { is: bad },
    )
  },
)

test('store commands: sizes are for people', (t) => {
  t.deepEqual([0, 1023, 1536, 5 * 2 ** 30, 2 ** 51].map(describeBytes), [
    ...['0 B', '1023 B', '1.5 KiB', '5.0 GiB', '2048.0 TiB'],
  ])
})

test.serial(
  'store commands: a refusal is told by what the system said, with the path',
  async (t) => {
    const write = process.stderr.write
    let text = ''
    process.stderr.write = (chunk: string | Uint8Array) => {
      text += chunk
      return true
    }
    t.teardown(() => {
      process.stderr.write = write
      process.exitCode = 0
    })
    const cause = Object.assign(new Error("EACCES: permission denied, mkdir '/x/y'"), {
      code: 'EACCES',
    })
    await runStoreWork(() => Promise.reject(new RegistryError('UNAVAILABLE', undefined, { cause })))
    const bad = new Error('EIO: i/o error, read')
    await runStoreWork(() => Promise.reject(new UnreadableError('/b', bad.message, { cause: bad })))
    const advice = 'what it has done so far is safe: mend that, then run it again'
    t.is(
      text,
      `tidegate: EACCES: permission denied, mkdir '/x/y'; ${advice}\n` +
        `tidegate: /b: EIO: i/o error, read; ${advice}\n`,
    )
  },
)

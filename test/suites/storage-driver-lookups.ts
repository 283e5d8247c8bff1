import { setTimeout as sleep } from 'node:timers/promises'
import type { ExecutionContext } from 'ava'
import fc from 'fast-check'
import type { StorageDriver, StoredStat } from '../../src/storage/driver.ts'
import { type DriverCases, listNames } from './storage-driver-case.ts'

/** Each operation on `path`; those with two paths in both places. */
function everyOperation(driver: StorageDriver, path: string): (() => Promise<unknown>)[] {
  return [
    () => driver.stat(path),
    () => driver.list(path),
    () => driver.read(path),
    () => driver.write(path, 'x'),
    () => driver.open(path),
    () => driver.create(path),
    () => driver.append(path),
    () => driver.move(path, '/other', { durable: false }),
    () => driver.move('/kept', path, { durable: false }),
    () => driver.copy(path, '/other'),
    () => driver.copy('/kept', path),
    () => driver.remove(path, { durable: false }),
    () => driver.removeEmpty(path),
    () => driver.touch(path),
  ]
}

async function assertRefused(t: ExecutionContext, driver: StorageDriver, path: string) {
  for (const operation of everyOperation(driver, path)) {
    await t.throwsAsync(operation, { instanceOf: TypeError }, JSON.stringify(path))
  }
}

/** Waits until nothing can have changed a file without a trace. */
async function settledStat(driver: StorageDriver, path: string): Promise<StoredStat | undefined> {
  for (let attempt = 0; attempt < 100; attempt += 1) {
    const stat = await driver.stat(path)
    if (stat?.version !== undefined) return stat
    await sleep(100)
  }
  return undefined
}

export const lookupCases: DriverCases = {
  'a path that could lead elsewhere is a TypeError and changes nothing': async (t, { driver }) => {
    await driver.write('/kept', 'kept')
    for (const path of [
      ...['', '/', 'a', 'kept', './kept', '/a/', '//a', '/a//b', '/.', '/..', '/a/../kept'],
      ...['/a/./b', '/a/..', '/a\0', '/a\\b', '/a b', '/a\n', '/é', '/a?', '/%2e%2e/a', '/a:b'],
    ]) {
      await assertRefused(t, driver, path)
    }
    t.is((await driver.read('/kept'))?.content.toString(), 'kept')
    t.is(await driver.stat('/other'), undefined)
  },

  'no component but letters, digits and . _ - = is ever accepted': async (t, { driver }) => {
    const stranger = fc
      .string({ unit: 'binary', minLength: 0, maxLength: 12 })
      .filter((text) => !/^[A-Za-z0-9._=-]+$/.test(text) || text === '.' || text === '..')
      .filter((text) => !/^[A-Za-z0-9._=-]+(?:\/[A-Za-z0-9._=-]+)+$/.test(text))
    await fc.assert(
      fc.asyncProperty(stranger, async (text) => {
        await t.throwsAsync(driver.stat(`/a/${text}`), { instanceOf: TypeError })
        await t.throwsAsync(driver.write(`/a/${text}/b`, ''), { instanceOf: TypeError })
      }),
    )
    t.is(await driver.stat('/a'), undefined)
  },

  'what is absent is undefined or false, also below a file and under too long a name': async (
    t,
    { driver },
  ) => {
    await driver.write('/folder/file', 'x')
    const long = 'n'.repeat(300)
    for (const path of ['/none', '/folder/none', '/folder/file/below', `/${long}`, `/${long}/x`]) {
      t.is(await driver.stat(path), undefined)
      t.is(await driver.list(path), undefined)
      t.is(await driver.read(path), undefined)
      t.is(await driver.open(path), undefined)
      t.is(await driver.append(path), undefined)
      t.false(await driver.move(path, '/target', { durable: true }))
      t.false(await driver.copy(path, '/target'))
      t.false(await driver.remove(path, { durable: true }))
      t.false(await driver.removeEmpty(path))
      t.false(await driver.touch(path))
    }
    t.is(await driver.stat('/target'), undefined)
  },

  'a folder is not a file, and a file not a folder': async (t, { driver }) => {
    await driver.write('/folder/file', 'x')
    t.is(await driver.read('/folder'), undefined)
    t.is(await driver.open('/folder'), undefined)
    t.is(await driver.append('/folder'), undefined)
    t.is(await driver.create('/folder'), undefined)
    t.is(await driver.list('/folder/file'), undefined)
    await t.throwsAsync(driver.write('/folder', 'x'))
    await t.throwsAsync(driver.write('/folder/file/below', 'x'))
    await t.throwsAsync(driver.create('/folder/file/below'))
    t.deepEqual(await listNames(driver, '/folder'), ['file'])
  },

  'stat tells kind, size and time; list what is directly in a folder': async (t, { driver }) => {
    const before = Date.now()
    await driver.write('/top/file', 'four')
    await driver.write('/top/inner/deep/file', '')
    const file = await driver.stat('/top/file')
    t.is(file?.kind, 'file')
    t.is(file?.size, 4)
    // The clock of a file system is coarse, or another machine's.
    t.true(Math.abs((file?.modifiedAt ?? 0) - before) < 60_000)
    const folder = await driver.stat('/top/inner')
    t.is(folder?.kind, 'folder')
    t.is(folder?.size, 0)
    const entries = [...((await driver.list('/top')) ?? [])].sort((a, b) =>
      a.name < b.name ? -1 : 1,
    )
    t.deepEqual(entries, [
      { name: 'file', kind: 'file' },
      { name: 'inner', kind: 'folder' },
    ])
  },

  'a version is told only once the last change is old, and no two contents share one': async (
    t,
    { driver, again },
  ) => {
    await driver.write('/file', 'first')
    // However old it is made to look.
    await driver.touch('/file', Date.now() - 60_000)
    t.is((await driver.stat('/file'))?.version, undefined)
    t.is((await driver.read('/file'))?.stat.version, undefined)
    const settled = await settledStat(driver, '/file')
    t.is(typeof settled?.version, 'string')
    t.deepEqual((await driver.read('/file'))?.stat, settled)
    t.deepEqual(await again().stat('/file'), settled)
    await using reader = await driver.open('/file')
    t.deepEqual(reader?.stat, settled)

    await again().write('/file', 'other')
    await again().touch('/file', settled?.modifiedAt)
    t.is((await driver.stat('/file'))?.version, undefined)
    const changed = await settledStat(driver, '/file')
    t.is(changed?.modifiedAt, settled?.modifiedAt)
    t.is(typeof changed?.version, 'string')
    t.not(changed?.version, settled?.version)
  },

  'a time in the future never makes a version': async (t, { driver }) => {
    await driver.write('/file', 'x')
    await driver.write('/sign', 'x')
    t.true(await driver.touch('/file', Date.now() + 3_600_000))
    await settledStat(driver, '/sign')
    t.is((await driver.stat('/file'))?.version, undefined)
  },

  'touch sets a time to the millisecond, of a folder too': async (t, { driver }) => {
    await driver.write('/folder/file', 'x')
    for (const at of [1_700_000_000_123, 1_731_999_999_999, 1_000]) {
      t.true(await driver.touch('/folder/file', at))
      t.is((await driver.stat('/folder/file'))?.modifiedAt, at)
    }
    t.true(await driver.touch('/folder', 1_700_000_000_001))
    t.is((await driver.stat('/folder'))?.modifiedAt, 1_700_000_000_001)
    const before = Date.now()
    t.true(await driver.touch('/folder/file'))
    t.true(((await driver.stat('/folder/file'))?.modifiedAt ?? 0) >= before)
    t.is((await driver.read('/folder/file'))?.content.toString(), 'x')
  },

  'space is told before anything was written, and after': async (t, { driver }) => {
    for (const prepare of [async () => {}, () => driver.write('/file', 'x')]) {
      await prepare()
      const { free, total, files } = await driver.space()
      t.true(free > 0 && free <= total)
      t.true(files === undefined || (files.free >= 0 && files.free <= files.total))
    }
  },
}

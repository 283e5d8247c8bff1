import { trashRoot } from '../../src/storage/layout.ts'
import { countSuccesses, type DriverCases, listNames, readText } from './storage-driver-case.ts'

const durable = { durable: true }
const passing = { durable: false }

export const removalCases: DriverCases = {
  'a folder is removed as empty only if it is a folder and empty': async (t, { driver }) => {
    await driver.write('/folder/inner/file', 'x')
    t.false(await driver.removeEmpty('/folder'))
    t.false(await driver.removeEmpty('/folder/inner'))
    t.false(await driver.removeEmpty('/folder/inner/file'))
    t.is(await readText(driver, '/folder/inner/file'), 'x')
    t.true(await driver.remove('/folder/inner/file', passing))
    t.true(await driver.removeEmpty('/folder/inner'))
    t.deepEqual(await listNames(driver, '/folder'), [])
    t.true(await driver.removeEmpty('/folder'))
    t.false(await driver.removeEmpty('/folder'))
  },

  'remove takes a file, or a folder with all that is in it, and nothing else': async (
    t,
    { driver },
  ) => {
    for (const options of [durable, passing]) {
      await driver.write('/top/folder/file', 'x')
      await driver.write('/top/folder/inner/deep/file', 'x')
      await driver.write('/top/folder2/file', 'kept')
      await driver.write('/top/file', 'x')
      t.true(await driver.remove('/top/file', options))
      t.true(await driver.remove('/top/folder', options))
      t.deepEqual(await listNames(driver, '/top'), ['folder2'])
      t.is(await readText(driver, '/top/folder2/file'), 'kept')
      t.false(await driver.remove('/top/folder', options))
      t.deepEqual(await listNames(driver, trashRoot), [])
    }
  },

  'of several that remove one thing exactly one succeeds': async (t, { driver, again }) => {
    const drivers = [driver, again(), again(), again()]
    for (let round = 0; round < 10; round += 1) {
      for (const path of ['/folder/file', '/folder']) {
        await driver.write('/folder/file', 'x')
        const results = await Promise.all(drivers.map((own) => own.remove(path, passing)))
        t.is(countSuccesses(results), 1)
        t.is(await driver.stat(path), undefined)
      }
    }
  },

  'onlookers see a folder whole, or not at all': async (t, { driver, again }) => {
    const names = Array.from({ length: 40 }, (_, index) => `${index}`)
    const look = again()
    for (let round = 0; round < 5; round += 1) {
      for (const name of names)
        await (await driver.create(`/folder/${name}`))?.[Symbol.asyncDispose]()
      let isRemoving = true
      const removing = driver.remove('/folder', passing).finally(() => {
        isRemoving = false
      })
      while (isRemoving) {
        const seen = (await look.list('/folder'))?.length
        t.true(seen === undefined || seen === names.length, `${seen} of ${names.length} are left`)
      }
      t.true(await removing)
    }
  },

  'a folder can be made anew while the one before it is being removed, and loses nothing': async (
    t,
    { driver, again },
  ) => {
    const other = again()
    for (let round = 0; round < 20; round += 1) {
      await driver.write('/folder/inner/old', 'x')
      const [isRemoved] = await Promise.all([
        driver.remove('/folder', durable),
        other.write('/folder/inner/new', 'y'),
      ])
      t.true(isRemoved)
      // Before it, the new file went too; after it, it is there whole, and alone.
      const left = await listNames(driver, '/folder/inner')
      t.true(left === undefined || (left.length === 1 && left[0] === 'new'), String(left))
      await driver.write('/folder/inner/last', 'z')
      t.is(await readText(driver, '/folder/inner/last'), 'z')
      await driver.remove('/folder', passing)
    }
    t.deepEqual(await listNames(driver, trashRoot), [])
  },

  'what a killed process left in the trash is removed from there': async (t, { driver, again }) => {
    for (let round = 0; round < 5; round += 1) {
      for (const name of ['a', 'b/c', 'd']) {
        await driver.write(`${trashRoot}/left/${name}`, 'x')
        await driver.write(`${trashRoot}/file`, 'x')
      }
      // Several notice it at once.
      const empty = async (own: typeof driver): Promise<void> => {
        for (const { name } of (await own.list(trashRoot)) ?? [])
          await own.remove(`${trashRoot}/${name}`, passing)
      }
      await Promise.all([empty(driver), empty(again()), empty(again())])
      t.deepEqual(await listNames(driver, trashRoot), [])
    }
  },

  'a folder that may go is shown whole before, where nobody else finds it': async (
    t,
    { driver, again },
  ) => {
    await driver.write('/top/folder/inner/file', 'x')
    const confirm = async (folder: string): Promise<boolean> => {
      t.is(await readText(driver, `${folder}/inner/file`), 'x')
      t.is(await again().stat('/top/folder'), undefined)
      return true
    }
    t.true(await driver.remove('/top/folder', { durable: true, confirm }))
    t.is(await driver.stat('/top/folder'), undefined)
    t.deepEqual(await listNames(driver, trashRoot), [])
    t.false(
      await driver.remove('/top/folder', {
        durable: true,
        confirm: async () => t.fail() === undefined,
      }),
    )
  },

  'a folder that may not go comes back, as it was left, even where the one above it went': async (
    t,
    { driver, again },
  ) => {
    for (const options of [durable, passing]) {
      await driver.write('/top/folder/file', 'x')
      const confirm = async (folder: string): Promise<boolean> => {
        await driver.write(`${folder}/file`, 'y')
        await again().removeEmpty('/top')
        return false
      }
      t.false(await driver.remove('/top/folder', { ...options, confirm }))
      t.is(await readText(driver, '/top/folder/file'), 'y')
    }
    t.deepEqual(await listNames(driver, trashRoot), [])
  },

  'a folder comes back when the look at it fails': async (t, { driver }) => {
    await driver.write('/top/folder/file', 'x')
    const confirm = () => Promise.reject(new Error('no look'))
    const removal = driver.remove('/top/folder', { durable: true, confirm })
    await t.throwsAsync(removal, { message: 'no look' })
    t.is(await readText(driver, '/top/folder/file'), 'x')
  },

  'what has the name of a folder by the time it should come back stays': async (t, { driver }) => {
    for (const name of ['/top/folder', '/top/folder/new']) {
      await driver.write('/top/folder/file', 'x')
      const confirm = async (): Promise<boolean> => {
        await driver.write(name, 'y')
        return false
      }
      t.true(await driver.remove('/top/folder', { durable: true, confirm }))
      t.is(await readText(driver, name), 'y')
      t.is(await driver.stat('/top/folder/file'), undefined)
      t.deepEqual(await listNames(driver, trashRoot), [])
      await driver.remove('/top/folder', passing)
    }
  },

  'of a file that is removed nothing is asked': async (t, { driver }) => {
    await driver.write('/file', 'x')
    t.true(
      await driver.remove('/file', { durable: true, confirm: async () => t.fail() === undefined }),
    )
    t.is(await driver.stat('/file'), undefined)
  },
}

import fc from 'fast-check'
import type { StorageDriver } from '../../src/storage/driver.ts'
import { countSuccesses, type DriverCases, listNames, readText } from './storage-driver-case.ts'

const durable = { durable: true }
const passing = { durable: false }

/** Writes `/folder/file` of changing length until `signal`, and reads it: each text must be whole. */
async function readWhile(driver: StorageDriver, writing: Promise<unknown>): Promise<Set<string>> {
  const seen = new Set<string>()
  let isWriting = true
  const done = writing.finally(() => {
    isWriting = false
  })
  while (isWriting) seen.add((await readText(driver, '/folder/file')) ?? 'absent')
  await done
  return seen
}

export const fileCases: DriverCases = {
  'write puts content in place of what was there, whatever the bytes': async (t, { driver }) => {
    const bytes = Uint8Array.from({ length: 256 }, (_, value) => value)
    for (const content of ['first', '', bytes, 'a longer text than before', Buffer.from('ü')]) {
      await driver.write('/some/new/folder/file', content)
      t.deepEqual((await driver.read('/some/new/folder/file'))?.content, Buffer.from(content))
    }
    t.deepEqual(await listNames(driver, '/some/new/folder'), ['file'])
  },

  'a small file of any length is read whole, with its size': async (t, { driver }) => {
    for (const length of [1, 4095, 4096, 4097, 300_000]) {
      const content = Buffer.alloc(length, `${length} `)
      await driver.write('/file', content)
      const file = await driver.read('/file')
      t.true(file?.content.equals(content))
      t.is(file?.stat.size, length)
      t.is(file?.stat.kind, 'file')
    }
  },

  'readers beside writers meet one content or another whole, and never none': async (
    t,
    { driver, again },
  ) => {
    const contents = ['a'.repeat(5000), 'b', '', 'd'.repeat(90_000)]
    await driver.write('/folder/file', 'b')
    const write = async (own: StorageDriver): Promise<void> => {
      for (let round = 0; round < 5; round += 1)
        for (const content of contents) await own.write('/folder/file', content)
    }
    const seen = await readWhile(driver, Promise.all([write(driver), write(again())]))
    t.deepEqual(
      [...seen].filter((content) => !contents.includes(content)),
      [],
    )
    t.deepEqual(await listNames(driver, '/folder'), ['file'])
  },

  'a write that fails leaves nothing behind': async (t, { driver }) => {
    await driver.write('/folder/inner/file', 'x')
    await t.throwsAsync(driver.write('/folder/inner', 'y'))
    t.deepEqual(await listNames(driver, '/folder'), ['inner'])
    t.is(await readText(driver, '/folder/inner/file'), 'x')
  },

  'files get made while somebody removes every folder that is empty': async (
    t,
    { driver, again },
  ) => {
    let isRunning = true
    const collect = async (): Promise<void> => {
      const own = again()
      while (isRunning) {
        for (const path of ['/a/b/c', '/a/b', '/a']) await own.removeEmpty(path)
      }
    }
    const collecting = collect()
    try {
      for (let round = 0; round < 30; round += 1) {
        await driver.write('/a/b/c/written', 'x')
        await driver.move('/a/b/c/written', `/kept/${round}`, durable)
        await driver.move(`/kept/${round}`, '/a/b/c/moved', durable)
        t.true(await driver.copy('/a/b/c/moved', `/kept/${round}`))
        await driver.remove('/a/b/c/moved', passing)
        await using writer = await driver.create('/a/b/c/created')
        t.is(writer?.size, 0)
        await writer?.sync()
        t.true(await driver.remove('/a/b/c/created', passing))
      }
    } finally {
      isRunning = false
      await collecting
    }
    t.is((await driver.list('/kept'))?.length, 30)
  },

  'a reader reads any piece, and less only at the end': async (t, { driver }) => {
    const content = Buffer.from(Array.from({ length: 70_000 }, (_, index) => index % 251))
    await driver.write('/file', content)
    await using reader = await driver.open('/file')
    t.is(reader?.stat.size, content.length)
    await fc.assert(
      fc.asyncProperty(fc.nat(80_000), fc.nat(80_000), async (position, length) => {
        const buffer = Buffer.alloc(length)
        const expected = content.subarray(position, position + length)
        t.is(await reader?.read(buffer, position), expected.length)
        t.true(buffer.subarray(0, expected.length).equals(expected))
      }),
      { numRuns: 50 },
    )
  },

  'what is open stays readable when it is replaced, moved or removed': async (t, { driver }) => {
    for (const change of [
      () => driver.write('/folder/file', 'new'),
      () => driver.move('/folder/file', '/elsewhere', passing),
      () => driver.remove('/folder/file', passing),
      () => driver.remove('/folder', passing),
    ]) {
      await driver.write('/folder/file', 'old')
      await using reader = await driver.open('/folder/file')
      await change()
      const buffer = Buffer.alloc(10)
      t.is(await reader?.read(buffer, 0), 3)
      t.is(buffer.toString('latin1', 0, 3), 'old')
    }
  },

  'move takes a file to where it replaces another, into folders that it makes': async (
    t,
    { driver },
  ) => {
    await driver.write('/from/file', 'moved')
    await driver.write('/to/file', 'replaced')
    t.true(await driver.move('/from/file', '/to/file', durable))
    t.is(await readText(driver, '/to/file'), 'moved')
    t.is(await driver.stat('/from/file'), undefined)
    t.true(await driver.move('/to/file', '/some/new/folder/file', passing))
    t.is(await readText(driver, '/some/new/folder/file'), 'moved')
    t.deepEqual(await listNames(driver, '/to'), [])
  },

  'of several that move one file exactly one succeeds': async (t, { driver, again }) => {
    const other = again()
    for (let round = 0; round < 10; round += 1) {
      await driver.write('/from/file', `${round}`)
      const moves = Array.from({ length: 8 }, (_, index) =>
        (index % 2 ? driver : other).move('/from/file', `/to/${round}/${index}/file`, {
          durable: index > 3,
        }),
      )
      const results = await Promise.all(moves)
      t.is(countSuccesses(results), 1)
      const winner = results.indexOf(true)
      t.is(await readText(driver, `/to/${round}/${winner}/file`), `${round}`)
    }
  },

  'a copy is a file of its own': async (t, { driver }) => {
    const content = Buffer.alloc(200_000, 'content ')
    await driver.write('/from/file', content)
    t.true(await driver.copy('/from/file', '/some/new/folder/copy'))
    t.deepEqual(await listNames(driver, '/some/new/folder'), ['copy'])
    await using writer = await driver.append('/some/new/folder/copy')
    await writer?.write(Buffer.from('more'))
    t.is((await driver.stat('/from/file'))?.size, content.length)
    t.is((await driver.stat('/some/new/folder/copy'))?.size, content.length + 4)
    t.true(await driver.remove('/from/file', passing))
    const copied = (await driver.read('/some/new/folder/copy'))?.content
    t.true(copied?.subarray(0, content.length).equals(content))
  },
}

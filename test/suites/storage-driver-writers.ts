import fc from 'fast-check'
import type { StorageDriver, StoredWriter } from '../../src/storage/driver.ts'
import { countSuccesses, type DriverCases } from './storage-driver-case.ts'

/** Runs `use` with a writer to `path`, which is made if it is not there. */
async function withWriter<T>(
  driver: StorageDriver,
  path: string,
  use: (writer: StoredWriter) => Promise<T>,
): Promise<T> {
  await using writer = (await driver.create(path)) ?? (await driver.append(path))
  if (writer === undefined) throw new Error(`${path} can neither be made nor appended to`)
  return await use(writer)
}

type Step =
  | { readonly kind: 'write'; readonly bytes: Uint8Array }
  | { readonly kind: 'truncate'; readonly share: number }
  | { readonly kind: 'reopen' | 'sync' }

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    kind: fc.constant('write' as const),
    bytes: fc.uint8Array({ maxLength: 5000, size: 'max' }),
  }),
  fc.record({
    kind: fc.constant('truncate' as const),
    share: fc.double({ min: 0, max: 1, noNaN: true }),
  }),
  fc.record({ kind: fc.constantFrom('reopen' as const, 'sync' as const) }),
)

export const writerCases: DriverCases = {
  'what has a name already cannot be created, and stays as it is': async (t, { driver }) => {
    await driver.write('/folder/file', 'content')
    t.is(await driver.create('/folder/file'), undefined)
    t.is(await driver.create('/folder'), undefined)
    t.is((await driver.read('/folder/file'))?.content.toString(), 'content')
  },

  'of several that create one file exactly one gets a writer': async (t, { driver, again }) => {
    const drivers = [driver, again(), again(), again()]
    for (let round = 0; round < 10; round += 1) {
      const writers = await Promise.all(drivers.map((own) => own.create(`/new/${round}/file`)))
      t.is(countSuccesses(writers), 1)
      for (const writer of writers) await writer?.[Symbol.asyncDispose]()
    }
  },

  'cutting a file beyond its end is a TypeError and changes nothing': async (t, { driver }) => {
    await withWriter(driver, '/file', async (writer) => {
      await writer.write(Buffer.from('four'))
      for (const size of [5, -1, Number.NaN]) {
        await t.throwsAsync(writer.truncate(size), { instanceOf: TypeError })
      }
      t.is(writer.size, 4)
    })
    t.is((await driver.stat('/file'))?.size, 4)
  },

  'a writer appends, and another goes on after it': async (t, { driver, again }) => {
    await withWriter(driver, '/new/folder/file', async (writer) => {
      t.is(writer.size, 0)
      const bytes = Buffer.from('one ')
      await writer.write(bytes)
      // The memory is the caller's again.
      bytes.fill('x')
      await writer.write(Buffer.from('two '))
      t.is(writer.size, 8)
      await writer.sync()
    })
    await using writer = await again().append('/new/folder/file')
    t.is(writer?.size, 8)
    await writer?.write(Buffer.from('three'))
    t.is(writer?.size, 13)
    t.is((await driver.read('/new/folder/file'))?.content.toString(), 'one two three')
  },

  'a large piece arrives whole': async (t, { driver }) => {
    const piece = Buffer.alloc(3_000_000, 'large piece ')
    await withWriter(driver, '/file', async (writer) => {
      await writer.write(piece)
      await writer.write(piece.subarray(1))
      t.is(writer.size, 5_999_999)
    })
    t.true((await driver.read('/file'))?.content.equals(Buffer.concat([piece, piece.subarray(1)])))
  },

  'a writer still writes to its file when that is moved': async (t, { driver }) => {
    await withWriter(driver, '/from/file', async (writer) => {
      await writer.write(Buffer.from('before '))
      t.true(await driver.move('/from/file', '/to/file', { durable: true }))
      await writer.write(Buffer.from('after'))
    })
    t.is((await driver.read('/to/file'))?.content.toString(), 'before after')
    t.is(await driver.stat('/from/file'), undefined)
  },

  'after any sequence of writes, cuts and reopenings the file is what they make': async (
    t,
    { driver },
  ) => {
    let run = 0
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
        run += 1
        const path = `/run/${run}`
        let expected = Buffer.alloc(0)
        let writer = await driver.create(path)
        for (const next of steps) {
          if (next.kind === 'write') {
            await writer?.write(next.bytes)
            expected = Buffer.concat([expected, next.bytes])
          } else if (next.kind === 'truncate') {
            expected = expected.subarray(0, Math.floor(next.share * expected.length))
            await writer?.truncate(expected.length)
          } else if (next.kind === 'sync') {
            await writer?.sync()
          } else {
            await writer?.[Symbol.asyncDispose]()
            writer = await driver.append(path)
          }
          t.is(writer?.size, expected.length)
        }
        await writer?.[Symbol.asyncDispose]()
        t.true((await driver.read(path))?.content.equals(expected))
      }),
      { numRuns: 25 },
    )
  },
}

import test from 'ava'
import fc from 'fast-check'
import type { ByteSource } from '../../../../src/lib/byte-source.ts'
import type { UploadId } from '../../../../src/lib/names.ts'
import type { StorageDriver, StoredWriter } from '../../../../src/storage/driver.ts'
import { upload, uploadData } from '../../../../src/storage/layout.ts'
import { createStore, digestOf, ignore, repo, serve, sourceOf } from './support.ts'

/*
 * The protocol of uploads/claim.ts against every order of its steps: some processes on one session, of
 * which each makes one step on the disk at a time, in an order that is drawn, and may be killed before
 * any of them.
 */

/** Lets the steps of all processes happen one after the other, in the order that `next` draws. */
function createPump(next: () => number) {
  const waiting: (() => Promise<unknown>)[] = []
  return {
    step<T>(work: () => Promise<T>): Promise<T> {
      const { promise, resolve, reject } = Promise.withResolvers<T>()
      waiting.push(() => work().then(resolve, reject))
      return promise
    },
    /** Runs until nobody wants to do anything more. */
    async run(): Promise<void> {
      for (;;) {
        await new Promise(setImmediate)
        if (waiting.length === 0) return
        const [step] = waiting.splice(next() % waiting.length, 1)
        await step?.()
      }
    },
  }
}

type Store = Awaited<ReturnType<typeof createStore>>
type Pump = ReturnType<typeof createPump>

/** A process's view of the disk; it is killed before its step number `lifetime`. */
function createProcess(driver: StorageDriver, pump: Pump, lifetime: number) {
  const files: StoredWriter[] = []
  let steps = 0
  const step = <T>(work: () => Promise<T>): Promise<T> => {
    steps += 1
    return steps > lifetime ? new Promise(() => {}) : pump.step(work)
  }
  const slow: StorageDriver = {
    ...driver,
    stat: (path) => step(() => driver.stat(path)),
    list: (path) => step(() => driver.list(path)),
    move: (from, to, options) => step(() => driver.move(from, to, options)),
    remove: (path, options) => step(() => driver.remove(path, options)),
    create: (path) => step(async () => slowly(await driver.create(path))),
    append: (path) => step(async () => slowly(await driver.append(path))),
    async copy(from, to) {
      // What is copied may be written to meanwhile, and the folder may go.
      const file = await step(() => driver.read(from))
      if (file !== undefined) await step(() => driver.write(to, file.content))
      return file !== undefined
    },
  }
  function slowly(writer: StoredWriter | undefined): StoredWriter | undefined {
    if (writer === undefined) return undefined
    files.push(writer)
    let isClosed = false
    return {
      get size() {
        return writer.size
      },
      write: (bytes) => step(() => writer.write(bytes)),
      sync: () => step(() => Promise.resolve()),
      syncContent: () => step(() => Promise.resolve()),
      truncate: (size) => step(() => writer.truncate(size)),
      async [Symbol.asyncDispose]() {
        if (isClosed) return
        isClosed = true
        await step(async () => {
          files.splice(files.indexOf(writer), 1)
          await writer[Symbol.asyncDispose]()
        })
      },
    }
  }
  const bury = async (): Promise<void> => {
    for (const file of files.splice(0)) await file[Symbol.asyncDispose]()
  }
  return { uploads: serve(slow).uploads, bury }
}

type Scene = { readonly requests: readonly number[]; readonly seed: number }

/** Lets requests race; resolves with the texts that were acknowledged, in no order. */
async function race(
  driver: StorageDriver,
  id: UploadId,
  { requests, seed }: Scene,
): Promise<readonly string[]> {
  let state = seed
  const pump = createPump(() => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
    return state >>> 16
  })
  const acknowledged: string[] = []
  const processes = requests.map((lifetime, index) => {
    const process = createProcess(driver, pump, lifetime)
    const text = `<${index}>`
    const chunk = { source: letterByLetter(text) }
    void process.uploads.append(repo, id, chunk, ignore).then(() => acknowledged.push(text), ignore)
    return process
  })
  await pump.run()
  for (const process of processes) await process.bury()
  return acknowledged
}

/** Gives each letter as a piece of its own, so that somebody else's could come between. */
function letterByLetter(text: string): ByteSource {
  const letters = [...text]
  return { fill: async (buffer) => buffer.write(letters.shift() ?? '') }
}

const scene = (processes: number) =>
  fc.record({
    requests: fc.array(fc.oneof(fc.constant(Number.POSITIVE_INFINITY), fc.nat(20)), {
      minLength: processes,
      maxLength: processes,
    }),
    seed: fc.nat(),
  })

/** What the processes find: a session at rest, or one whose holder was killed. */
const starts = {
  rest: '',
  killed: '.11111111-2222-3333-4444-555555555555',
} as const

async function begin({ uploads, driver }: Store, start: keyof typeof starts) {
  const { id } = await uploads.start(repo)
  const path = uploadData(repo, id)
  await uploads.append(repo, id, { source: sourceOf('<start>') }, ignore)
  await driver.move(path, path + starts[start], { durable: false })
  return { id, acknowledged: ['<start>'] }
}

for (const start of ['rest', 'killed'] as const) {
  test(`claims: racing processes that die at any step lose nothing, from ${start}`, async (t) => {
    await using store = await createStore()
    let successes = 0
    const property = fc.asyncProperty(scene(2), scene(2), async (first, second) => {
      const { id, acknowledged } = await begin(store, start)
      for (const each of [first, second]) acknowledged.push(...(await race(store.driver, id, each)))
      successes += acknowledged.length
      // In one process, and undisturbed: whatever is left behind, the session goes on.
      const { uploads } = store.restart()
      await uploads.append(repo, id, { source: sourceOf('<end>') }, ignore)
      const content = `${(await store.driver.read(uploadData(repo, id)))?.content}`
      // Of a request that was cut off the beginning may be there.
      t.regex(content, /^(?:<start>)?(?:<(?:[01]>?)?)*<end>$/)
      for (const text of new Set(acknowledged)) {
        const times = acknowledged.filter((other) => other === text).length
        t.true(content.split(text).length - 1 >= times)
      }
      await uploads.finish(repo, id, { digest: digestOf(content) }, ignore)
    })
    await fc.assert(property, { numRuns: 40 })
    t.true(successes > 40)
  })
}

test('claims: copies that killed takeovers left go with the next takeover', async (t) => {
  await using store = await createStore()
  const { id } = await begin(store, 'killed')
  const folder = upload(repo, id)
  for (const left of [starts.rest, '.99999999-2222-3333-4444-555555555555.tmp']) {
    await store.driver.write(`${folder}/copy${starts.killed}${left}`, '<start>')
  }
  await store.uploads.append(repo, id, { source: sourceOf('<end>') }, ignore)
  const names = (await store.driver.list(folder))?.map(({ name }) => name).sort()
  t.deepEqual(names, ['data', 'startedat'])
  t.is(`${(await store.driver.read(uploadData(repo, id)))?.content}`, '<start><end>')
})

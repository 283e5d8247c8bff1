import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'ava'
import fc from 'fast-check'
import { parseDigest } from '../../../../src/lib/digest.ts'
import { RegistryError } from '../../../../src/lib/errors.ts'
import { largeBufferBytes } from '../../../../src/lib/large-buffers.ts'
import type { UploadId } from '../../../../src/lib/names.ts'
import type { StoredWriter } from '../../../../src/storage/driver.ts'
import {
  blobData,
  layer,
  layerLink,
  layers,
  upload,
  uploadData,
  uploadStartedAt,
  uploads as uploadsFolder,
} from '../../../../src/storage/layout.ts'
import {
  altered,
  createStore,
  digestOf,
  ignore,
  pattern,
  readAll,
  repo,
  sourceOf,
} from './support.ts'

const unknownId = '11111111-2222-3333-4444-555555555555' as UploadId
const range = (first: number, last: number) => ({ range: { first, last } })

for (const id of [unknownId, 'not-a-uuid' as UploadId, '..' as UploadId]) {
  test(`uploads: nothing can be done to the session ${id}, which never began`, async (t) => {
    await using store = await createStore()
    const { uploads } = store
    const chunk = { source: sourceOf('abc') }
    const accept = () => t.fail()
    const unknown = { code: 'BLOB_UPLOAD_UNKNOWN' }
    await t.throwsAsync(uploads.status(repo, id), unknown)
    await t.throwsAsync(uploads.append(repo, id, chunk, accept), unknown)
    const last = { digest: digestOf('abc'), chunk }
    await t.throwsAsync(uploads.finish(repo, id, last, accept), unknown)
    await t.throwsAsync(uploads.cancel(repo, id), unknown)
    t.deepEqual(await readdir(store.root), [])
  })
}

test('uploads: an algorithm we do not have is DIGEST_INVALID, at the start and at the end', async (t) => {
  await using store = await createStore()
  const { uploads } = store
  const invalid = { code: 'DIGEST_INVALID' }
  await t.throwsAsync(uploads.start(repo, { algorithm: 'md5' }), invalid)
  const { id } = await uploads.start(repo)
  const last = { digest: parseDigest('md5:abc'), chunk: { source: sourceOf('abc') } }
  await t.throwsAsync(
    uploads.finish(repo, id, last, () => t.fail()),
    invalid,
  )
  t.deepEqual(await uploads.status(repo, id), { id, offset: 0 })
})

test('uploads: none begins in a read-only store, or with too little room', async (t) => {
  await using closed = await createStore({ readonly: true })
  await t.throwsAsync(closed.uploads.start(repo), { code: 'READ_ONLY' })
  await using full = await createStore({ minFree: () => Number.POSITIVE_INFINITY })
  await t.throwsAsync(full.uploads.start(repo), { code: 'STORAGE_FULL' })
})

test('uploads: what is in progress may finish in a read-only store', async (t) => {
  await using store = await createStore()
  const { id } = await store.uploads.start(repo)
  await store.driver.write('/docker/registry/v2/tidegate/readonly', '')
  const last = { digest: digestOf('abc'), chunk: { source: sourceOf('abc') } }
  await store.uploads.finish(repo, id, last, ignore)
  t.deepEqual(await store.blobs.stat(repo, digestOf('abc')), { size: 3 })
})

test('uploads: a session lies on disk as registry:2 lays it out', async (t) => {
  await using store = await createStore()
  const { id } = await store.uploads.start(repo)
  const path = (of: string) => join(store.root, of)
  t.regex(
    await readFile(path(uploadStartedAt(repo, id)), 'utf8'),
    /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/,
  )
  t.is(await readFile(path(uploadData(repo, id)), 'utf8'), '')
  await store.uploads.append(repo, id, { source: sourceOf('abc') }, ignore)
  t.deepEqual((await readdir(path(upload(repo, id)))).sort(), ['data', 'startedat'])
  t.is(await readFile(path(uploadData(repo, id)), 'utf8'), 'abc')
})

test('uploads: a session of registry:2 goes on', async (t) => {
  await using store = await createStore()
  await store.driver.write(uploadStartedAt(repo, unknownId), '2026-11-22T04:12:03Z')
  await store.driver.write(`${upload(repo, unknownId)}/hashstates/sha256/0`, 'x')
  await store.driver.write(uploadData(repo, unknownId), 'ab')
  t.is((await store.uploads.status(repo, unknownId)).offset, 2)
  const chunk = { source: sourceOf('c') }
  t.is((await store.uploads.append(repo, unknownId, chunk, ignore)).offset, 3)
  await store.uploads.finish(repo, unknownId, { digest: digestOf('abc') }, ignore)
  t.is(`${await readAll(await store.blobs.open(repo, digestOf('abc')))}`, 'abc')
})

test('uploads: a session whose bytes are a blob by now has ended', async (t) => {
  await using store = await createStore()
  await store.driver.write(uploadStartedAt(repo, unknownId), '2026-11-22T04:12:03Z')
  const unknown = { code: 'BLOB_UPLOAD_UNKNOWN' }
  await t.throwsAsync(store.uploads.status(repo, unknownId), unknown)
  const last = { digest: digestOf('') }
  await t.throwsAsync(store.uploads.finish(repo, unknownId, last, ignore), unknown)
})

test('uploads: what registry:2 leaks of an ended session is no session', async (t) => {
  await using store = await createStore()
  await store.driver.write(`${upload(repo, unknownId)}/hashstates/sha256/0`, 'x')
  const unknown = { code: 'BLOB_UPLOAD_UNKNOWN' }
  await t.throwsAsync(store.uploads.status(repo, unknownId), unknown)
  const chunk = { source: sourceOf('abc') }
  await t.throwsAsync(store.uploads.append(repo, unknownId, chunk, ignore), unknown)
})

for (const [first, last] of [
  [0, 2],
  [2, 4],
  [4, 6],
] as const) {
  test(`uploads: a chunk at ${first} after 3 bytes is RANGE_INVALID and changes nothing`, async (t) => {
    await using store = await createStore()
    const { uploads } = store
    const { id } = await uploads.start(repo)
    await uploads.append(repo, id, { source: sourceOf('abc'), ...range(0, 2) }, ignore)
    const source = { fill: async () => t.fail() as never }
    const chunk = { source, ...range(first, last) }
    const accept = () => t.fail()
    const invalid = { code: 'RANGE_INVALID' }
    const error = await t.throwsAsync(uploads.append(repo, id, chunk, accept), invalid)
    t.deepEqual(error instanceof RegistryError && error.detail, { offset: 3 })
    const finish = uploads.finish(repo, id, { digest: digestOf('abcdef'), chunk }, accept)
    await t.throwsAsync(finish, invalid)
    t.is((await uploads.status(repo, id)).offset, 3)
  })
}

for (const body of ['', 'de', 'defg']) {
  test(`uploads: ${body.length} bytes for a range of three are SIZE_INVALID, none is kept`, async (t) => {
    await using store = await createStore()
    const { uploads } = store
    const { id } = await uploads.start(repo)
    await uploads.append(repo, id, { source: sourceOf('abc') }, ignore)
    const chunk = () => ({ source: sourceOf(body), ...range(3, 5) })
    const invalid = { code: 'SIZE_INVALID' }
    await t.throwsAsync(uploads.append(repo, id, chunk(), ignore), invalid)
    const last = { digest: digestOf('abcdef'), chunk: chunk() }
    await t.throwsAsync(uploads.finish(repo, id, last, ignore), invalid)
    t.is((await uploads.status(repo, id)).offset, 3)
    const good = { source: sourceOf('def'), ...range(3, 5) }
    await uploads.finish(repo, id, { digest: digestOf('abcdef'), chunk: good }, ignore)
    t.is(`${await readAll(await store.blobs.open(repo, digestOf('abcdef')))}`, 'abcdef')
  })
}

test('uploads: a large chunk that is too short leaves what was there before', async (t) => {
  await using store = await createStore()
  const { uploads } = store
  const { id } = await uploads.start(repo)
  const long = {
    source: sourceOf(pattern(2 * largeBufferBytes)),
    ...range(0, 3 * largeBufferBytes),
  }
  await t.throwsAsync(uploads.append(repo, id, long, ignore), { code: 'SIZE_INVALID' })
  t.is((await uploads.status(repo, id)).offset, 0)
  const last = { digest: digestOf('abc'), chunk: { source: sourceOf('abc') } }
  await uploads.finish(repo, id, last, ignore)
  t.pass()
})

test('uploads: a wrong digest is DIGEST_MISMATCH and ends the session', async (t) => {
  await using store = await createStore()
  const { uploads, blobs } = store
  const { id } = await uploads.start(repo)
  const last = { digest: digestOf('abc'), chunk: { source: sourceOf('abd') } }
  await t.throwsAsync(uploads.finish(repo, id, last, ignore), { code: 'DIGEST_MISMATCH' })
  await t.throwsAsync(uploads.status(repo, id), { code: 'BLOB_UPLOAD_UNKNOWN' })
  await t.throwsAsync(blobs.stat(repo, digestOf('abc')), { code: 'BLOB_UNKNOWN' })
  await t.throwsAsync(blobs.stat(repo, digestOf('abd')), { code: 'BLOB_UNKNOWN' })
  t.is(await store.driver.stat(upload(repo, id)), undefined)
})

test('uploads: a sender that breaks off keeps what arrived, and goes on from there', async (t) => {
  await using store = await createStore()
  const { uploads } = store
  const { id } = await uploads.start(repo)
  const broken = { source: sourceOf('abc', new Error('gone')), ...range(0, 5) }
  await t.throwsAsync(uploads.append(repo, id, broken, ignore), { message: 'gone' })
  t.is((await uploads.status(repo, id)).offset, 3)
  const digest = digestOf('abcdef')
  const brokenLast = { digest, chunk: { source: sourceOf('de', new Error('gone')) } }
  await t.throwsAsync(uploads.finish(repo, id, brokenLast, ignore), { message: 'gone' })
  const last = { digest, chunk: { source: sourceOf('f'), ...range(5, 5) } }
  await uploads.finish(repo, id, last, ignore)
  t.is(`${await readAll(await store.blobs.open(repo, digest))}`, 'abcdef')
})

test('uploads: accept is called once, before the first byte is taken', async (t) => {
  await using store = await createStore()
  const log: string[] = []
  const { id } = await store.uploads.start(repo)
  const feed = sourceOf('abc')
  const source = {
    fill(buffer: Buffer) {
      log.push('fill')
      return feed.fill(buffer)
    },
  }
  await store.uploads.append(repo, id, { source }, () => log.push('accept'))
  t.deepEqual(log, ['accept', 'fill', 'fill'])
  await store.uploads.finish(repo, id, { digest: digestOf('abc') }, () => t.fail())
})

test('uploads: the empty blob', async (t) => {
  await using store = await createStore()
  const { id } = await store.uploads.start(repo)
  await store.uploads.finish(repo, id, { digest: digestOf('') }, ignore)
  t.deepEqual(await store.blobs.stat(repo, digestOf('')), { size: 0 })
})

test('uploads: a finished session leaves a blob, a link and nothing else', async (t) => {
  await using store = await createStore()
  const { driver } = store
  const { id } = await store.uploads.start(repo)
  const digest = digestOf('abc')
  await store.uploads.finish(repo, id, { digest, chunk: { source: sourceOf('abc') } }, ignore)
  t.is(`${(await driver.read(blobData(digest)))?.content}`, 'abc')
  t.is(`${(await driver.read(layerLink(repo, digest)))?.content}`, digest)
  t.is(await driver.stat(upload(repo, id)), undefined)
  await t.throwsAsync(store.uploads.status(repo, id), { code: 'BLOB_UPLOAD_UNKNOWN' })
})

test('uploads: a cancelled session is gone with its bytes', async (t) => {
  await using store = await createStore()
  const { id } = await store.uploads.start(repo)
  await store.uploads.append(repo, id, { source: sourceOf('abc') }, ignore)
  await store.uploads.cancel(repo, id)
  t.is(await store.driver.stat(upload(repo, id)), undefined)
  await t.throwsAsync(store.uploads.cancel(repo, id), { code: 'BLOB_UPLOAD_UNKNOWN' })
})

test('uploads: a push heals a blob that is stored torn', async (t) => {
  await using store = await createStore()
  const digest = digestOf('abc')
  await store.driver.write(blobData(digest), 'a')
  const { id } = await store.uploads.start(repo)
  await store.uploads.finish(repo, id, { digest, chunk: { source: sourceOf('abc') } }, ignore)
  t.is(`${await readAll(await store.blobs.open(repo, digest))}`, 'abc')
})

test('uploads: who reads a blob while it is pushed again reads on', async (t) => {
  await using store = await createStore()
  const digest = digestOf('abc')
  const push = async () => {
    const { id } = await store.uploads.start(repo)
    await store.uploads.finish(repo, id, { digest, chunk: { source: sourceOf('abc') } }, ignore)
  }
  await push()
  const reader = await store.blobs.open(repo, digest)
  await push()
  t.is(`${await readAll(reader)}`, 'abc')
})

for (const algorithm of [undefined, 'sha256', 'sha512']) {
  for (const chunked of [false, true]) {
    test(`uploads: sha512 begun as ${algorithm}, ${chunked ? 'in chunks' : 'at once'}`, async (t) => {
      await using store = await createStore()
      const { uploads, driver } = store
      const digest = digestOf('abcdef', 'sha512')
      const { id } = await uploads.start(repo, algorithm === undefined ? {} : { algorithm })
      if (chunked) await uploads.append(repo, id, { source: sourceOf('abc') }, ignore)
      const chunk = { source: sourceOf(chunked ? 'def' : 'abcdef') }
      await uploads.finish(repo, id, { digest, chunk }, ignore)
      t.is(`${(await driver.read(blobData(digest)))?.content}`, 'abcdef')
      t.is(`${(await driver.read(layerLink(repo, digest)))?.content}`, digest)
      t.is(await driver.stat(blobData(digestOf('abcdef'))), undefined)
    })
  }
}

test('uploads: a file is read again only when its hash is not known', async (t) => {
  await using store = await createStore()
  let opened = 0
  const counting = altered(store.driver, {
    open(path) {
      opened += 1
      return store.driver.open(path)
    },
  })
  const push = async (algorithm: string, isRestarted: boolean, hint?: string) => {
    opened = 0
    const first = store.restart(counting)
    const { id } = await first.uploads.start(repo, hint === undefined ? {} : { algorithm: hint })
    await first.uploads.append(repo, id, { source: sourceOf('abc') }, ignore)
    await first.uploads.append(repo, id, { source: sourceOf('def') }, ignore)
    const { uploads } = isRestarted ? store.restart(counting) : first
    await uploads.finish(repo, id, { digest: digestOf('abcdef', algorithm) }, ignore)
    return opened
  }
  t.is(await push('sha256', false), 0)
  t.is(await push('sha512', false, 'sha512'), 0)
  t.is(await push('sha512', false), 1)
  t.is(await push('sha256', true), 1)
})

test('uploads: bytes that another process appended are hashed too', async (t) => {
  await using store = await createStore()
  const other = store.restart()
  const { id } = await store.uploads.start(repo)
  await store.uploads.append(repo, id, { source: sourceOf('abc') }, ignore)
  await other.uploads.append(repo, id, { source: sourceOf('def') }, ignore)
  await store.uploads.append(repo, id, { source: sourceOf('ghi') }, ignore)
  await other.uploads.finish(repo, id, { digest: digestOf('abcdefghi') }, ignore)
  t.is(`${await readAll(await store.blobs.open(repo, digestOf('abcdefghi')))}`, 'abcdefghi')
})

test('uploads: bytes that were changed behind our back are found out by the digest', async (t) => {
  await using store = await createStore()
  const { id } = await store.uploads.start(repo)
  await store.uploads.append(repo, id, { source: sourceOf('abc') }, ignore)
  const path = uploadData(repo, id)
  await writeFile(join(store.root, path), 'abd')
  await store.driver.touch(path, 1_000_000)
  const finish = store.uploads.finish(repo, id, { digest: digestOf('abc') }, ignore)
  await t.throwsAsync(finish, { code: 'DIGEST_MISMATCH' })
})

test('uploads: a full disk is STORAGE_FULL, and the session goes on when there is room', async (t) => {
  await using store = await createStore()
  let room = largeBufferBytes + 1000
  const tight = altered(store.driver, {
    async append(path) {
      const writer = await store.driver.append(path)
      if (writer === undefined) return undefined
      return {
        get size() {
          return writer.size
        },
        async write(bytes) {
          await writer.write(bytes.subarray(0, room))
          room -= Math.min(room, bytes.length)
          if (room === 0) throw new RegistryError('STORAGE_FULL')
        },
        sync: () => writer.sync(),
        syncContent: () => writer.syncContent(),
        truncate: (size) => writer.truncate(size),
        [Symbol.asyncDispose]: () => writer[Symbol.asyncDispose](),
      }
    },
  })
  const { uploads } = store.restart(tight)
  const bytes = pattern(4 * largeBufferBytes)
  const { id } = await uploads.start(repo)
  const whole = { source: sourceOf(bytes) }
  await t.throwsAsync(uploads.append(repo, id, whole, ignore), { code: 'STORAGE_FULL' })
  const { offset } = await uploads.status(repo, id)
  t.is(offset, largeBufferBytes + 1000)
  room = Number.POSITIVE_INFINITY
  const rest = { source: sourceOf(bytes.subarray(offset)), ...range(offset, bytes.length - 1) }
  await uploads.finish(repo, id, { digest: digestOf(bytes), chunk: rest }, ignore)
  t.true((await readAll(await store.blobs.open(repo, digestOf(bytes)))).equals(bytes))
})

test('uploads: no room for the last rename leaves the session to try again', async (t) => {
  await using store = await createStore()
  let isFull = true
  const tight = altered(store.driver, {
    async move(from, to, options) {
      if (isFull && to.endsWith('/data') && to.includes('/blobs/'))
        throw new RegistryError('STORAGE_FULL')
      return await store.driver.move(from, to, options)
    },
  })
  const { uploads, blobs } = store.restart(tight)
  const digest = digestOf('abc')
  const { id } = await uploads.start(repo)
  const last = { digest, chunk: { source: sourceOf('abc') } }
  await t.throwsAsync(uploads.finish(repo, id, last, ignore), { code: 'STORAGE_FULL' })
  await t.throwsAsync(blobs.stat(repo, digest), { code: 'BLOB_UNKNOWN' })
  isFull = false
  await uploads.finish(repo, id, { digest }, ignore)
  t.is(`${await readAll(await blobs.open(repo, digest))}`, 'abc')
})

test('uploads: no room for the link moves no bytes, and leaves the session to try again', async (t) => {
  await using store = await createStore()
  let isFull = true
  const refuse = (path: string): void => {
    if (isFull && path.startsWith(layers(repo))) throw new RegistryError('STORAGE_FULL')
  }
  const tight = altered(store.driver, {
    async write(path, content) {
      refuse(path)
      await store.driver.write(path, content)
    },
    async create(path) {
      if (isFull && path.startsWith(layers(repo))) {
        // As on a real disk: the name has room, the content has none.
        await (await store.driver.create(path))?.[Symbol.asyncDispose]()
      }
      refuse(path)
      return await store.driver.create(path)
    },
  })
  const { uploads, blobs } = store.restart(tight)
  const digest = digestOf('abc')
  const { id } = await uploads.start(repo)
  const last = { digest, chunk: { source: sourceOf('abc') } }
  await t.throwsAsync(uploads.finish(repo, id, last, ignore), { code: 'STORAGE_FULL' })
  t.is(await store.driver.stat(blobData(digest)), undefined)
  t.is(await store.driver.stat(layer(repo, digest)), undefined)
  t.is((await uploads.status(repo, id)).offset, 3)
  isFull = false
  await uploads.finish(repo, id, { digest }, ignore)
  t.is(`${await readAll(await blobs.open(repo, digest))}`, 'abc')
})

test('uploads: bytes that cannot be moved leave no link, and no folder for one', async (t) => {
  await using store = await createStore()
  const { uploads } = store.restart(
    altered(store.driver, {
      async move(from, to, options) {
        if (to.includes('/blobs/')) throw new RegistryError('STORAGE_FULL')
        return await store.driver.move(from, to, options)
      },
    }),
  )
  const digest = digestOf('abc')
  const { id } = await uploads.start(repo)
  const last = { digest, chunk: { source: sourceOf('abc') } }
  await t.throwsAsync(uploads.finish(repo, id, last, ignore), { code: 'STORAGE_FULL' })
  t.is(await store.driver.stat(layer(repo, digest)), undefined)
})

test('uploads: a start that finds no room leaves nothing', async (t) => {
  await using store = await createStore()
  const { uploads } = store.restart(
    altered(store.driver, {
      async create(path) {
        if (path.endsWith('/data')) throw new RegistryError('STORAGE_FULL')
        return await store.driver.create(path)
      },
    }),
  )
  await t.throwsAsync(uploads.start(repo), { code: 'STORAGE_FULL' })
  t.deepEqual(await store.driver.list(uploadsFolder(repo)), [])
})

test('uploads: the end of an upload syncs its bytes alone, as they are moved next', async (t) => {
  await using store = await createStore()
  const synced: string[] = []
  const { uploads } = store.restart(
    altered(store.driver, {
      async append(path) {
        const writer = await store.driver.append(path)
        return writer && noting(writer, synced)
      },
    }),
  )
  const { id } = await uploads.start(repo)
  await uploads.append(repo, id, { source: sourceOf('abc') }, ignore)
  t.deepEqual(synced, ['name'])
  await uploads.finish(repo, id, { digest: digestOf('abc') }, ignore)
  t.deepEqual(synced, ['name', 'content'])
})

/** A writer that notes what it was asked to make durable. */
function noting(writer: StoredWriter, synced: string[]): StoredWriter {
  return {
    get size() {
      return writer.size
    },
    write: (bytes) => writer.write(bytes),
    truncate: (size) => writer.truncate(size),
    async sync() {
      synced.push('name')
      await writer.sync()
    },
    async syncContent() {
      synced.push('content')
      await writer.syncContent()
    },
    [Symbol.asyncDispose]: () => writer[Symbol.asyncDispose](),
  }
}

/** How a request that sends part of a body ends, and what it is answered; what it sent is kept or not. */
const endings = {
  whole: { answer: undefined, isKept: true },
  ranged: { answer: undefined, isKept: true },
  broken: { answer: 'broken off', isKept: true },
  short: { answer: 'SIZE_INVALID', isKept: false },
  misplaced: { answer: 'RANGE_INVALID', isKept: false },
} as const
type Ending = keyof typeof endings

function chunkFor(ending: Ending, bytes: Buffer, at: number) {
  const source = sourceOf(bytes, ending === 'broken' ? new Error('broken off') : undefined)
  if (ending === 'whole' || ending === 'broken') return { source }
  const first = ending === 'misplaced' ? at + 1 : at
  return { source, ...range(first, first + bytes.length - (ending === 'short' ? 0 : 1)) }
}

/** A part of a body: its size, how its request ends, and whether we are restarted then. */
const part = fc.record({
  size: fc.oneof(fc.nat(40), fc.constantFrom(largeBufferBytes, largeBufferBytes + 1)),
  ending: fc.constantFrom<Ending>('whole', 'ranged', 'broken', 'short', 'misplaced'),
  restart: fc.boolean(),
})

test('uploads: however a body is cut, broken off and resumed, the blob is the body', async (t) => {
  await using store = await createStore()
  const property = fc.asyncProperty(
    fc.array(part, { maxLength: 8 }),
    fc.constantFrom('sha256', 'sha512'),
    fc.constantFrom('sha256', 'sha512'),
    async (parts, hint, algorithm) => {
      const body = pattern(parts.reduce((sum, { size }) => sum + size, 5))
      let { uploads } = store.restart()
      const { id } = await uploads.start(repo, { algorithm: hint })
      let at = 0
      for (const { size, ending, restart } of parts) {
        const { answer, isKept } = endings[ending]
        const chunk = chunkFor(ending, body.subarray(at, at + size), at)
        const appended = uploads.append(repo, id, chunk, ignore)
        t.is(await appended.then(ignore, (error) => error.code ?? error.message), answer)
        if (isKept) at += size
        t.is((await uploads.status(repo, id)).offset, at)
        if (restart) ({ uploads } = store.restart())
      }
      const digest = digestOf(body, algorithm)
      const chunk = chunkFor('ranged', body.subarray(at), at)
      await uploads.finish(repo, id, { digest, chunk }, ignore)
      t.true((await readAll(await store.blobs.open(repo, digest))).equals(body))
    },
  )
  await fc.assert(property, { numRuns: 40 })
})

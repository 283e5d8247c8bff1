import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'ava'
import { largeBufferBytes } from '../../../../src/lib/large-buffers.ts'
import type { UploadId } from '../../../../src/lib/names.ts'
import { upload } from '../../../../src/storage/layout.ts'
import type { Order } from './child.ts'
import {
  altered,
  createFeed,
  createStore,
  digestOf,
  ignore,
  otherRepo,
  pattern,
  readAll,
  repo,
  sourceOf,
  until,
} from './support.ts'

const superseded = { code: 'BLOB_UPLOAD_INVALID' }
const unknown = { code: 'BLOB_UPLOAD_UNKNOWN' }
type Store = Awaited<ReturnType<typeof createStore>>

/** An append whose client stands still after `bytes`, a whole number of buffers. */
async function hold({ uploads }: Pick<Store, 'uploads'>, id: UploadId, bytes: Buffer) {
  const feed = createFeed()
  feed.push(bytes)
  const appended = uploads.append(repo, id, { source: feed }, ignore)
  // Whoever looks at it later sees the failure.
  appended.catch(ignore)
  await until(() => feed.fills === bytes.length / largeBufferBytes + 1)
  return { feed, appended }
}

const block = pattern(largeBufferBytes)

test('uploads: a request on a session takes it from one whose client stands still', async (t) => {
  await using store = await createStore()
  const { uploads } = store
  const { id } = await uploads.start(repo)
  const { appended, feed } = await hold(store, id, block)
  t.is((await uploads.status(repo, id)).offset, block.length)
  const rest = { source: sourceOf('rest'), range: { first: block.length, last: block.length + 3 } }
  t.is((await uploads.append(repo, id, rest, ignore)).offset, block.length + 4)
  await t.throwsAsync(appended, superseded)
  feed.push('late')
  feed.end()
  const body = Buffer.concat([block, Buffer.from('rest')])
  await uploads.finish(repo, id, { digest: digestOf(body) }, ignore)
  t.true((await readAll(await store.blobs.open(repo, digestOf(body)))).equals(body))
})

test('uploads: a finish takes the session from an append under way', async (t) => {
  await using store = await createStore()
  const { id } = await store.uploads.start(repo)
  const { appended } = await hold(store, id, block)
  await store.uploads.finish(repo, id, { digest: digestOf(block) }, ignore)
  await t.throwsAsync(appended, superseded)
  t.deepEqual(await store.blobs.stat(repo, digestOf(block)), { size: block.length })
})

test('uploads: a cancel ends the session under an append', async (t) => {
  await using store = await createStore()
  const { id } = await store.uploads.start(repo)
  const { appended } = await hold(store, id, block)
  await store.uploads.cancel(repo, id)
  await t.throwsAsync(appended, superseded)
  await t.throwsAsync(store.uploads.status(repo, id), unknown)
  t.is(await store.driver.stat(upload(repo, id)), undefined)
})

test('uploads: a status disturbs nobody', async (t) => {
  await using store = await createStore()
  const other = store.restart()
  const { id } = await store.uploads.start(repo)
  const { appended, feed } = await hold(store, id, block)
  t.is((await store.uploads.status(repo, id)).offset, block.length)
  t.is((await other.uploads.status(repo, id)).offset, block.length)
  feed.end()
  t.is((await appended).offset, block.length)
})

test('uploads: of a second finish beside the first, one succeeds and nothing is torn', async (t) => {
  await using store = await createStore()
  const other = store.restart()
  for (const second of [store, other]) {
    const { id } = await store.uploads.start(repo)
    await store.uploads.append(repo, id, { source: sourceOf(block) }, ignore)
    const last = { digest: digestOf(block) }
    const outcomes = await Promise.allSettled(
      [store, second].map(({ uploads }) => uploads.finish(repo, id, last, ignore)),
    )
    // Between processes each may take the session from the other at the wrong moment.
    t.true(outcomes.filter(({ status }) => status === 'fulfilled').length <= 1)
    await store.uploads.finish(repo, id, last, ignore).catch(ignore)
    const stored = await readAll(await store.blobs.open(repo, digestOf(block)))
    t.true(stored.equals(block))
  }
})

test('uploads: many requests on one session keep the bytes of every one that succeeds', async (t) => {
  await using store = await createStore()
  const { uploads } = store
  const { id } = await uploads.start(repo)
  const texts = [...'abcdefgh'].map((letter) => letter.repeat(10))
  const outcomes = await Promise.allSettled(
    texts.map((text) => uploads.append(repo, id, { source: sourceOf(text) }, ignore)),
  )
  const kept = texts.filter((_, index) => outcomes[index]?.status === 'fulfilled')
  t.true(kept.length > 0)
  const { offset } = await uploads.status(repo, id)
  const path = join(store.root, upload(repo, id))
  t.deepEqual((await readdir(path)).sort(), ['data', 'startedat'])
  const content = `${(await store.driver.read(`${upload(repo, id)}/data`))?.content}`
  t.is(content.length, offset)
  for (const text of kept) t.true(content.includes(text))
})

test('uploads: pushes of one digest at once, to one repository and to another, all succeed', async (t) => {
  await using store = await createStore()
  const digest = digestOf(block)
  const push = async (name: typeof repo, { uploads }: Pick<Store, 'uploads'>) => {
    const { id } = await uploads.start(name)
    await uploads.finish(name, id, { digest, chunk: { source: sourceOf(block) } }, ignore)
  }
  const other = store.restart()
  const names = [repo, repo, otherRepo]
  await Promise.all(names.flatMap((name) => [push(name, store), push(name, other)]))
  for (const name of [repo, otherRepo])
    t.true((await readAll(await store.blobs.open(name, digest))).equals(block))
})

test('uploads: a push that fails beside another of the same digest does not harm it', async (t) => {
  await using store = await createStore()
  const digest = digestOf(block)
  const good = await store.uploads.start(repo)
  const bad = await store.uploads.start(repo)
  const outcomes = await Promise.allSettled([
    store.uploads.finish(repo, good.id, { digest, chunk: { source: sourceOf(block) } }, ignore),
    store.uploads.finish(repo, bad.id, { digest, chunk: { source: sourceOf('bad') } }, ignore),
  ])
  t.deepEqual(
    outcomes.map(({ status }) => status),
    ['fulfilled', 'rejected'],
  )
  t.true((await readAll(await store.blobs.open(repo, digest))).equals(block))
})

test('uploads: another process takes a session over, and the holder can add no more', async (t) => {
  await using store = await createStore()
  const other = store.restart()
  const { id } = await store.uploads.start(repo)
  const { appended, feed } = await hold(store, id, block)
  const rest = { source: sourceOf('rest'), range: { first: block.length, last: block.length + 3 } }
  t.is((await other.uploads.append(repo, id, rest, ignore)).offset, block.length + 4)
  feed.push('from the old holder')
  feed.end()
  await t.throwsAsync(appended, superseded)
  const body = Buffer.concat([block, Buffer.from('rest')])
  await other.uploads.finish(repo, id, { digest: digestOf(body) }, ignore)
  t.true((await readAll(await store.blobs.open(repo, digestOf(body)))).equals(body))
})

test('uploads: a holder whose session another process ended finds it unknown', async (t) => {
  await using store = await createStore()
  const other = store.restart()
  for (const end of ['cancel', 'finish'] as const) {
    const { id } = await store.uploads.start(repo)
    const { appended, feed } = await hold(store, id, block)
    if (end === 'cancel') await other.uploads.cancel(repo, id)
    else await other.uploads.finish(repo, id, { digest: digestOf(block) }, ignore)
    feed.end()
    await t.throwsAsync(appended, unknown)
    t.is(await store.driver.stat(upload(repo, id)), undefined)
  }
})

test('uploads: a wrong digest at a holder that was superseded does not end the session', async (t) => {
  await using store = await createStore()
  const other = store.restart()
  const { id } = await store.uploads.start(repo)
  const feed = createFeed()
  const last = { digest: digestOf('something else'), chunk: { source: feed } }
  const finished = store.uploads.finish(repo, id, last, ignore)
  await until(() => feed.fills === 1)
  await other.uploads.append(repo, id, { source: sourceOf('abc') }, ignore)
  feed.end()
  await t.throwsAsync(finished, superseded)
  t.is((await store.uploads.status(repo, id)).offset, 3)
})

test('uploads: a takeover that finds no room leaves all there was to the next', async (t) => {
  await using store = await createStore()
  const { id } = await store.uploads.start(repo)
  await hold(store, id, block)
  const copy = () => Promise.reject(new Error('no room'))
  const full = store.restart(altered(store.driver, { copy }))
  const chunk = { source: sourceOf('rest') }
  await t.throwsAsync(full.uploads.append(repo, id, chunk, ignore), { message: 'no room' })
  const next = store.restart()
  t.is((await next.uploads.append(repo, id, chunk, ignore)).offset, block.length + 4)
})

test('uploads: a session that ended while it was taken over does not come back', async (t) => {
  await using store = await createStore()
  const { id } = await store.uploads.start(repo)
  await hold(store, id, block)
  const ended = altered(store.driver, {
    async copy(from, to) {
      const content = (await store.driver.read(from))?.content
      await store.driver.remove(upload(repo, id), { durable: false })
      await store.driver.write(to, content ?? '')
      return true
    },
  })
  const { uploads } = store.restart(ended)
  const chunk = { source: sourceOf('rest') }
  await t.throwsAsync(
    uploads.append(repo, id, chunk, () => t.fail()),
    unknown,
  )
})

/** Another process on the folder of `store`. */
async function startPeer(store: Store) {
  const child = fork(new URL('./child.ts', import.meta.url), [store.root])
  await once(child, 'message')
  return {
    child,
    ask: (order: Order) => ask(child, order),
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null || child.signalCode !== null) return
      const exited = once(child, 'exit')
      child.kill('SIGKILL')
      await exited
    },
  }
}

async function ask(child: ChildProcess, order: Order): Promise<unknown> {
  child.send(order)
  const [{ value, error }] = await once(child, 'message')
  if (error !== undefined) throw new Error(error)
  return value
}

test('uploads: two processes append to one session in turn, and either may finish it', async (t) => {
  await using store = await createStore()
  await using peer = await startPeer(store)
  const { id } = await store.uploads.start(repo)
  await store.uploads.append(repo, id, { source: sourceOf('abc') }, ignore)
  t.deepEqual(await peer.ask({ kind: 'append', id, text: 'def', first: 3 }), { id, offset: 6 })
  await t.throwsAsync(peer.ask({ kind: 'append', id, text: 'ghi', first: 3 }), {
    message: 'RANGE_INVALID',
  })
  const stale = { source: sourceOf('xyz'), range: { first: 3, last: 5 } }
  await t.throwsAsync(store.uploads.append(repo, id, stale, ignore), { code: 'RANGE_INVALID' })
  await peer.ask({ kind: 'finish', id, digest: digestOf('abcdefghi'), text: 'ghi' })
  t.is(`${await readAll(await store.blobs.open(repo, digestOf('abcdefghi')))}`, 'abcdefghi')
})

test('uploads: what a killed process had received goes on in another', async (t) => {
  await using store = await createStore()
  const { id } = await store.uploads.start(repo)
  {
    await using peer = await startPeer(store)
    await peer.ask({ kind: 'append', id, text: 'acknowledged ' })
    await peer.ask({ kind: 'hold', id, text: 'x' })
  }
  const { offset } = await store.uploads.status(repo, id)
  t.is(offset, 'acknowledged '.length)
  const rest = { source: sourceOf('and resumed'), range: { first: offset, last: offset + 10 } }
  t.is((await store.uploads.append(repo, id, rest, ignore)).offset, offset + 11)
  const digest = digestOf('acknowledged and resumed')
  await store.uploads.finish(repo, id, { digest }, ignore)
  t.deepEqual(await store.blobs.stat(repo, digest), { size: offset + 11 })
})

test('uploads: a process that lost a session to us cannot end it any more', async (t) => {
  await using store = await createStore()
  await using peer = await startPeer(store)
  const { id } = await store.uploads.start(repo)
  await peer.ask({ kind: 'hold', id, text: 'theirs' })
  await store.uploads.append(repo, id, { source: sourceOf('ours') }, ignore)
  await t.throwsAsync(peer.ask({ kind: 'end' }), { message: 'BLOB_UPLOAD_INVALID' })
  await store.uploads.finish(repo, id, { digest: digestOf('ours') }, ignore)
  t.deepEqual(await store.blobs.stat(repo, digestOf('ours')), { size: 4 })
})

test('uploads: of two files that killed takers left, the larger goes on and the other is removed', async (t) => {
  await using store = await createStore()
  const { id } = await store.uploads.start(repo)
  const folder = upload(repo, id)
  await store.driver.remove(`${folder}/data`, { durable: false })
  await store.driver.write(`${folder}/data.22222222-2222-3333-4444-555555555555`, 'ab')
  await store.driver.write(`${folder}/data.11111111-2222-3333-4444-555555555555`, 'abc')
  await store.driver.write(`${folder}/copy.11111111-2222-3333-4444-555555555555`, 'abcdefgh')
  t.is((await store.uploads.status(repo, id)).offset, 3)
  t.is((await store.uploads.append(repo, id, { source: sourceOf('d') }, ignore)).offset, 4)
  const names = (await store.driver.list(folder))?.map(({ name }) => name) ?? []
  t.deepEqual(
    names.filter((name) => name.startsWith('data')),
    ['data'],
  )
})

test('uploads: a claim that cannot be opened is given back', async (t) => {
  await using store = await createStore()
  const { id } = await store.uploads.start(repo)
  const append = () => Promise.reject(new Error('too many open files'))
  const { uploads } = store.restart(altered(store.driver, { append }))
  const chunk = { source: sourceOf('abc') }
  await t.throwsAsync(uploads.append(repo, id, chunk, ignore), { message: 'too many open files' })
  t.not(await store.driver.stat(`${upload(repo, id)}/data`), undefined)
})

import { once } from 'node:events'
import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import test from 'ava'
import { blob, type Content } from '../specification/content.ts'
import { makeImage, makeLayers } from '../support/images.ts'
import { createRandom, type Random, randomContent } from '../support/random.ts'
import { openRawClient } from '../support/raw-client.ts'
import {
  type Answer,
  createRegistryClient,
  errorCodesOf,
  expectStatus,
  finish,
  patch,
  pullContent,
  pushBlob,
  putManifest,
  type RegistryClient,
  startUpload,
  withDigest,
} from '../support/registry-client.ts'
import { offsetIn } from '../support/store-ledger.ts'
import { faultsIn, type StoreProcess, startStoreProcess } from '../support/store-process.ts'
import { faultsOf, readStore } from '../support/store-tree.ts'
import { faultsOnView } from '../support/store-walk.ts'

const repo = 'abort/app'
const host = 'HTTP/1.1\r\nHost: h\r\n'

function content(seed: number, size: number): Content {
  return blob(randomContent(createRandom(seed), size))
}

/** Sends what it is given, reads a little of the answer or not, and vanishes in some way. */
async function vanish(server: StoreProcess, said: Buffer, random: Random): Promise<void> {
  const client = await openRawClient(server)
  if (random(3) === 0) client.socket.pause()
  client.send(said)
  await delay(random(25))
  if (random(3) === 0) client.socket.resetAndDestroy()
  else if (random(2) === 0) client.socket.end()
  else client.socket.destroy()
  await Promise.race([once(client.socket, 'close'), delay(200)])
  client.socket.destroy()
}

/** The first part of a request: of its head, or of its body too. */
function partOf(random: Random, head: string, body: Buffer): Buffer {
  const isChunked = random(2) === 0
  const framing = isChunked ? 'Transfer-Encoding: chunked' : `Content-Length: ${body.length}`
  const framed = isChunked
    ? Buffer.concat([Buffer.from(`${body.length.toString(16)}\r\n`), body])
    : body
  const whole = Buffer.concat([Buffer.from(`${head}${framing}\r\n\r\n`), framed])
  return whole.subarray(0, random(random(5) === 0 ? 100 : whole.length))
}

/** Pushes a blob although its client vanishes several times on the way. */
async function pushBrokenly(
  { server, client }: { server: StoreProcess; client: RegistryClient },
  { bytes, digest }: Content,
  random: Random,
): Promise<void> {
  const location = await startUpload(client, repo)
  let before = 0
  for (let left = 3; left > 0; left -= 1) {
    const status = expectStatus(await client.request('GET', location), 204)
    const offset = offsetIn(status.headers.range)
    if (offset < before) throw new Error(`${before} bytes became ${offset}`)
    before = offset
    const rest = bytes.subarray(offset)
    const method = random(3) === 0 ? `PUT ${withDigest(location, digest)}` : `PATCH ${location}`
    // With its place, as what is left of it may be read by the server later than what comes next.
    const range = `Content-Range: ${offset}-${bytes.length - 1}\r\n`
    await vanish(server, partOf(random, `${method} ${host}${range}`, rest), random)
  }
  await goOn(client, location, { bytes, digest })
  await pullContent(client, repo, { kind: 'blobs', reference: digest })
}

/** Brings an upload to its end, as often as another request that is still under way gets in between. */
async function goOn(
  client: RegistryClient,
  location: string,
  { bytes, digest }: Pick<Content, 'bytes' | 'digest'>,
): Promise<void> {
  for (;;) {
    const status = expectStatus(await client.request('GET', location), 204)
    const offset = offsetIn(status.headers.range)
    const body = bytes.subarray(offset)
    const sent =
      body.length === 0 ? undefined : await patch(client, location, { body, first: offset })
    if (sent !== undefined && !isAnswered(sent, 202)) continue
    if (isAnswered(await finish(client, location, { digest }), 201)) return
  }
}

/** Whether an answer is the one that was hoped for; false for one that says to look again. */
function isAnswered(answer: Answer, wanted: number): boolean {
  if (answer.status === 400 && errorCodesOf(answer).includes('BLOB_UPLOAD_INVALID')) return false
  return expectStatus(answer, wanted, 416).status === wanted
}

/** Waits until the server has no more open than `most`, or shows what it keeps. */
async function openAfterAll(server: StoreProcess, most: number): Promise<string[]> {
  for (let wait = 0; wait < 100; wait += 1) {
    const targets = await server.openTargets()
    const files = targets.filter((target) => target.includes('/docker/registry/v2'))
    if (targets.length <= most && files.length === 0) return []
    await delay(100)
  }
  return await server.openTargets()
}

test.serial(
  'abort: a client that vanishes at any moment leaves nothing open, torn or blocked',
  async (t) => {
    await using folder = await mkdtempDisposable(join(tmpdir(), 'tidegate-abort-'))
    await using server = await startStoreProcess(folder.path)
    const client = createRegistryClient(server.origin)
    const random = createRandom(64)
    const shared = makeLayers(random, 3, 900_000)
    const { manifest, blobs } = makeImage(random, { shared, maxBytes: 900_000 })
    for (const part of blobs) await pushBlob(client, repo, part)
    expectStatus(await putManifest(client, { repo, reference: 'v1' }, manifest), 201)
    const before = await server.openFiles()
    const type = `Content-Type: ${manifest.mediaType}\r\n`

    const visitor = async (seed: number): Promise<void> => {
      const own = createRandom(seed)
      for (let visit = 0; visit < 8; visit += 1) {
        const single = content(own(2 ** 32), 300_000)
        const layer = blobs[own(blobs.length)]?.digest
        const requests = [
          partOf(
            own,
            `POST /v2/${repo}/blobs/uploads/?digest=${single.digest} ${host}`,
            single.bytes,
          ),
          partOf(own, `PUT /v2/${repo}/manifests/v1 ${host}${type}`, manifest.bytes),
          Buffer.from(`GET /v2/${repo}/blobs/${layer} ${host}\r\n`),
          Buffer.from(`GET /v2/${repo}/manifests/v1 ${host}\r\n`.repeat(5)),
          Buffer.from(`HEAD /v2/${repo}/blobs/${layer} ${host}\r\n`),
        ]
        for (const request of requests) await vanish(server, request, own)
      }
      await pushBrokenly({ server, client }, content(own(2 ** 32), 1_500_000), own)
      await pushBrokenly({ server, client }, content(own(2 ** 32), 1_500_000), own)
    }
    await Promise.all(Array.from({ length: 8 }, (_, index) => visitor(index)))

    t.deepEqual(await faultsOnView(client), [])
    client[Symbol.dispose]()
    t.deepEqual(await openAfterAll(server, before), [])
    t.deepEqual(faultsIn(server), [])
    const tree = await readStore(folder.path)
    t.deepEqual(faultsOf(tree), [])
    t.deepEqual(tree.uploads, [], 'no session that nobody knows of')
    t.deepEqual(tree.others, [])
    t.is(await server.stop(), 0)
  },
)

for (const through of ['the same server', 'another server'] as const) {
  test.serial(
    `abort: a dead connection does not block an upload that goes on through ${through}`,
    async (t) => {
      await using folder = await mkdtempDisposable(join(tmpdir(), 'tidegate-abort-'))
      await using server = await startStoreProcess(folder.path)
      await using second = await startStoreProcess(folder.path)
      using client = createRegistryClient(
        through === 'the same server' ? server.origin : second.origin,
      )
      const { bytes, digest } = content(5, 4_000_000)
      const location = await startUpload(client, repo)
      using dead = await openRawClient(server)
      dead.send(`PATCH ${location} ${host}Content-Length: ${bytes.length}\r\n\r\n`)
      dead.send(bytes.subarray(0, 2_000_000))
      // Silent from here on, but never closed, as when a laptop is shut.
      let offset = 0
      while (offset === 0) {
        const status = expectStatus(await client.request('GET', location), 204)
        offset = offsetIn(status.headers.range)
      }
      for (;;) {
        const status = expectStatus(await client.request('GET', location), 204)
        offset = offsetIn(status.headers.range)
        t.true(offset <= 2_000_000)
        const sent = await patch(client, location, { body: bytes.subarray(offset), first: offset })
        if (expectStatus(sent, 202, 416).status === 202) break
      }
      // It wakes up and goes on as if nothing had happened.
      dead.send(bytes.subarray(2_000_000))
      await dead.waitFor(/^HTTP\/1\.1 (?:400|404) .*\r\n[\s\S]*"BLOB_UPLOAD_(?:INVALID|UNKNOWN)"/)
      expectStatus(await finish(client, location, { digest }), 201)
      t.true((await pullContent(client, repo, { kind: 'blobs', reference: digest })).equals(bytes))
      t.deepEqual([...faultsIn(server), ...faultsIn(second)], [])
      t.deepEqual((await readStore(folder.path)).uploads, [])
    },
  )
}

test.serial(
  'abort: a reader that stalls and then leaves does not keep the file open',
  async (t) => {
    await using folder = await mkdtempDisposable(join(tmpdir(), 'tidegate-abort-'))
    await using server = await startStoreProcess(folder.path)
    using client = createRegistryClient(server.origin)
    const large = content(6, 32_000_000)
    await pushBlob(client, repo, large)
    const before = await server.openFiles()
    const readers = await Promise.all(Array.from({ length: 10 }, () => openRawClient(server)))
    for (const reader of readers) {
      reader.socket.pause()
      reader.send(`GET /v2/${repo}/blobs/${large.digest} ${host}\r\n`)
    }
    const isOpen = (target: string): boolean => target.includes('/blobs/sha256/')
    while ((await server.openTargets()).filter(isOpen).length < readers.length) await delay(20)
    expectStatus(await client.request('DELETE', `/v2/${repo}/blobs/${large.digest}`), 202)
    for (const [index, reader] of readers.entries()) {
      if (index % 2 === 0) reader.socket.destroy()
      else reader.socket.resetAndDestroy()
    }
    t.deepEqual(await openAfterAll(server, before), [])
    t.deepEqual(faultsIn(server), [])
  },
)

test.serial(
  'abort: a server that is asked to stop finishes the uploads that are under way',
  async (t) => {
    await using folder = await mkdtempDisposable(join(tmpdir(), 'tidegate-abort-'))
    await using server = await startStoreProcess(folder.path)
    const first = content(8, 4_000_000)
    const second = content(9, 4_000_000)
    {
      using client = createRegistryClient(server.origin)
      const location = await startUpload(client, repo)
      const other = await startUpload(client, repo)
      using putting = await openRawClient(server)
      using patching = await openRawClient(server)
      const length = `${host}Content-Length: 4000000\r\n\r\n`
      putting.send(`PUT ${withDigest(location, first.digest)} ${length}`)
      putting.send(first.bytes.subarray(0, 2_000_000))
      patching.send(`PATCH ${other} ${length}`)
      patching.send(second.bytes.subarray(0, 2_000_000))
      const arrived = async (path: string): Promise<boolean> =>
        (await client.request('GET', path)).headers.range !== '0-0'
      while (!((await arrived(location)) && (await arrived(other)))) await delay(10)
      const stopped = server.stop()
      while (!server.lines.some(({ msg }) => String(msg).startsWith('stopping'))) await delay(10)
      putting.send(first.bytes.subarray(2_000_000))
      patching.send(second.bytes.subarray(2_000_000))
      t.regex(await putting.ended(), /^HTTP\/1\.1 201 /)
      t.regex(await patching.ended(), /^HTTP\/1\.1 202 /)
      t.is(await stopped, 0)
      await using again = await startStoreProcess(folder.path)
      using later = createRegistryClient(again.origin)
      t.true(
        (await pullContent(later, repo, { kind: 'blobs', reference: first.digest })).equals(
          first.bytes,
        ),
      )
      expectStatus(await finish(later, other, { digest: second.digest }), 201)
      t.true(
        (await pullContent(later, repo, { kind: 'blobs', reference: second.digest })).equals(
          second.bytes,
        ),
      )
    }
  },
)

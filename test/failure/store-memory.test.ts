import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempDisposable } from 'node:fs/promises'
import { type IncomingMessage, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { openRawClient } from '../support/raw-client.ts'
import {
  createRegistryClient,
  expectStatus,
  finish,
  type RegistryClient,
  startUpload,
} from '../support/registry-client.ts'
import { faultsIn, type StoreProcess, startStoreProcess } from '../support/store-process.ts'

const mebibyte = 1024 ** 2
const large = 2048 * mebibyte
const allowance = 96 * mebibyte
const repo = 'memory/app'
const host = 'HTTP/1.1\r\nHost: h\r\n'

type Setting = { readonly server: StoreProcess; readonly client: RegistryClient }

async function withServer(use: (setting: Setting) => Promise<void>): Promise<void> {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'tidegate-memory-'))
  await using server = await startStoreProcess(folder.path)
  using client = createRegistryClient(server.origin)
  // What is loaded and compiled once belongs to the idle server.
  await push(server, { location: await startUpload(client, repo), bytes: mebibyte })
  await use({ server, client })
}

/** Pieces of some MiB that are different, although all are in the same memory; with their hash. */
function createStream(bytes: number) {
  const piece = Buffer.alloc(mebibyte)
  const hash = createHash('sha256')
  const pieces = function* (): Generator<Buffer> {
    for (let at = 0; at < bytes; at += piece.length) {
      const part = piece.subarray(0, Math.min(piece.length, bytes - at))
      part.writeDoubleBE(at, 0)
      hash.update(part)
      yield part
    }
  }
  return { pieces, digest: () => `sha256:${hash.digest('hex')}` }
}

/** Sends that many bytes to an upload session. Resolves to their digest. */
async function push(
  { port }: StoreProcess,
  { location, bytes }: { location: string; bytes: number },
): Promise<string> {
  const { pieces, digest } = createStream(bytes)
  const headers = { 'Content-Length': bytes }
  const req = request({ port, host: '127.0.0.1', method: 'PATCH', path: location, headers })
  for (const piece of pieces()) {
    // The memory is used again, so each piece is waited for.
    await new Promise<void>((resolve, reject) => {
      req.write(piece, (error) => (error == null ? resolve() : reject(error)))
    })
  }
  req.end()
  const [res] = (await once(req, 'response')) as [IncomingMessage]
  res.resume()
  if (res.statusCode !== 202) throw new Error(`PATCH: ${res.statusCode}`)
  return digest()
}

/** Downloads a blob. Resolves to the digest of what came. */
async function pull({ port }: StoreProcess, path: string): Promise<string> {
  const req = request({ port, host: '127.0.0.1', path })
  const [res] = (await once(req.end(), 'response')) as [IncomingMessage]
  const hash = createHash('sha256')
  for await (const piece of res) hash.update(piece)
  return `sha256:${hash.digest('hex')}`
}

test.serial('memory: 2 GiB pushed and pulled cost less than 96 MiB above idle', (t) =>
  withServer(async ({ server, client }) => {
    const idle = await server.memory()
    const location = await startUpload(client, repo)
    const digest = await push(server, { location, bytes: large })
    expectStatus(await finish(client, location, { digest }), 201)
    t.is(await pull(server, `/v2/${repo}/blobs/${digest}`), digest)
    const growth = (await server.peakMemory()) - idle
    t.log(`grew by ${Math.round(growth / mebibyte)} MiB`)
    t.true(growth < allowance)

    // Twenty readers that take nothing, of the same blob.
    const before = await server.memory()
    const readers = await Promise.all(Array.from({ length: 20 }, () => openRawClient(server)))
    for (const reader of readers) {
      reader.socket.pause()
      reader.send(`GET /v2/${repo}/blobs/${digest} ${host}\r\n`)
    }
    await untilStill(async () => (await server.openTargets()).filter(isBlob).length, readers.length)
    t.true((await server.memory()) - before < allowance)
    for (const reader of readers) reader.socket.destroy()
    t.deepEqual(faultsIn(server), [])
  }),
)

const isBlob = (target: string): boolean => target.includes('/blobs/sha256/')

/** Resolves once `value` is `wanted` and stays so for a while. */
async function untilStill(value: () => Promise<number>, wanted: number): Promise<void> {
  for (let still = 0; still < 10; ) {
    await new Promise((resolve) => setTimeout(resolve, 50))
    still = (await value()) === wanted ? still + 1 : 0
  }
}

test.serial('memory: 200 uploads at once, and as many that stall, cost a fixed buffer each', (t) =>
  withServer(async ({ server, client }) => {
    const idle = await server.memory()
    // Two buffers of 256 KiB for each upload, of 1 MiB for 16 of them, and what Node and the system keep.
    const each = 0.75 * mebibyte
    const stalled = await Promise.all(
      Array.from({ length: 100 }, async () => {
        const location = await startUpload(client, repo)
        const raw = await openRawClient(server)
        raw.send(`PATCH ${location} ${host}Content-Length: ${large}\r\n\r\n`)
        raw.send(Buffer.alloc(mebibyte))
        return raw
      }),
    )
    await Promise.all(
      Array.from({ length: 100 }, async () => {
        const location = await startUpload(client, repo)
        const digest = await push(server, { location, bytes: 2 * mebibyte })
        expectStatus(await finish(client, location, { digest }), 201)
      }),
    )
    const growth = (await server.peakMemory()) - idle
    t.log(`grew by ${Math.round(growth / mebibyte)} MiB`)
    t.true(growth < allowance + 200 * each)
    for (const raw of stalled) raw.socket.destroy()
    t.deepEqual(faultsIn(server), [])
  }),
)

test.serial('memory: thousands of small requests leave nothing behind', (t) =>
  withServer(async ({ server, client }) => {
    const round = async (): Promise<void> => {
      for (let index = 0; index < 40; index += 1) {
        const asked = Array.from({ length: 25 }, (_, at) =>
          client.request('GET', `/v2/${repo}${at % 5}/manifests/tag-${index}-${at}`),
        )
        const begun = Array.from({ length: 5 }, async () => {
          const location = await startUpload(client, repo)
          expectStatus(await client.request('DELETE', location), 204)
        })
        await Promise.all([...asked, ...begun])
      }
    }
    await round()
    const before = await server.memory()
    for (let rounds = 0; rounds < 5; rounds += 1) await round()
    const growth = (await server.memory()) - before
    t.log(`grew by ${Math.round(growth / mebibyte)} MiB`)
    t.true(growth < 48 * mebibyte)
    t.deepEqual(faultsIn(server), [])
  }),
)

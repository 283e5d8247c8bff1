import { mkdtempDisposable, readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { createDurabilityModel, type DurabilityModel } from '../support/durability.ts'
import { makeImage, makeLayers } from '../support/images.ts'
import { createRandom } from '../support/random.ts'
import {
  createRegistryClient,
  expectStatus,
  patch,
  pushBlob,
  putManifest,
  type RegistryClient,
  startUpload,
} from '../support/registry-client.ts'
import { startStoreProcess } from '../support/store-process.ts'
import { parseTrace, straceProblem, type TracedCall } from '../support/strace.ts'

const filter = [
  'fsync,fdatasync,openat,mkdirat,unlinkat,renameat2,linkat,write,writev,pwrite64,sendmsg,sendto',
  // Not on every architecture.
  '?rename,?renameat,?mkdir,?unlink,?rmdir,?link',
].join(',')

type Traced = {
  readonly calls: readonly TracedCall[]
  readonly model: DurabilityModel
  /** Path in the version folder. */
  readonly at: (path: string) => string
}

/** Traces a server while `use` speaks with it. */
async function traceServer(use: (client: RegistryClient) => Promise<void>): Promise<Traced> {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'tidegate-durable-'))
  const output = join(folder.path, 'trace')
  const root = join(folder.path, 'store')
  // The tracer is the grandchild, so that signals reach the server.
  const options = ['-D', '-f', '--seccomp-bpf', '-qq', '-y', '-s', '700', '-o', output]
  const wrapper = ['strace', ...options, '-e', `trace=${filter}`]
  {
    await using server = await startStoreProcess(root, { wrapper })
    using client = createRegistryClient(server.origin)
    await use(client)
    await server.stop()
  }
  const calls = parseTrace(await readFile(output, 'utf8')).map(asWrite)
  const at = (path: string): string => join(root, 'docker/registry/v2', path)
  return { calls, model: createDurabilityModel(calls), at }
}

/** The calls that write differ in nothing that matters here. */
function asWrite(call: TracedCall): TracedCall {
  const isWrite = ['writev', 'pwrite64', 'sendmsg', 'sendto'].includes(call.name)
  return isWrite ? { ...call, name: 'write' } : call
}

/** The answers with this status, and the one value that `pattern` finds in each. */
function answers(
  { calls }: Traced,
  status: string,
  pattern: RegExp,
): { begin: number; value: string }[] {
  return calls
    .filter(({ name, text }) => name === 'write' && text.includes(`"HTTP/1.1 ${status} `))
    .flatMap(({ begin, text }) => {
      const value = pattern.exec(text)?.[1]
      return value === undefined ? [] : [{ begin, value }]
    })
}

const blobPath = (digest: string): string => {
  const [algorithm, hex = ''] = digest.split(':')
  return `blobs/${algorithm}/${hex.slice(0, 2)}/${hex}/data`
}
const linkIn = (folder: string, digest: string): string =>
  `repositories/${folder}/${digest.replace(':', '/')}/link`

/** Files that are not safe at a moment when they must be. */
function unsafe({ model, at }: Traced, paths: readonly string[], moment: number): string[] {
  return paths.filter((path) => !model.isSafe(at(path), moment))
}

/** Checks the order in which links came to be: none before all that it leads to is safe. */
function checkLinks(t: ExecutionContext, traced: Traced): void {
  const renames = traced.calls.filter(
    ({ name, hasFailed, paths }) => name === 'rename' && !hasFailed && paths[1]?.endsWith('/link'),
  )
  t.true(renames.length > 0)
  for (const { begin, paths } of renames) {
    const path = paths[1] ?? ''
    const named =
      /repositories\/(.*)\/(_layers|_manifests\/revisions|_manifests\/tags\/[^/]+\/index)\/(sha256)\/(\w+)\/link$/
    const [, repo = '', kind, algorithm, hex] = named.exec(path) ?? []
    const digest = `${algorithm}:${hex}`
    if (hex === undefined) continue
    const before = [blobPath(digest)]
    if (kind?.endsWith('index')) before.push(linkIn(`${repo}/_manifests/revisions`, digest))
    t.deepEqual(unsafe(traced, before, begin), [], path)
  }
}

const problem = await straceProblem()

/** A test that needs a tracer; without one it is skipped, and says so. */
function tracedTest(title: string, implementation: (t: ExecutionContext) => Promise<void>): void {
  if (problem === undefined) test.serial(title, implementation)
  else test.serial.skip(`${title} (skipped: ${problem})`, implementation)
}

tracedTest('durability: nothing is acknowledged before it would survive a power cut', async (t) => {
  const random = createRandom(3)
  const shared = makeLayers(random, 3, 400_000)
  const images = Array.from({ length: 12 }, () => makeImage(random, { shared, maxBytes: 100_000 }))
  const traced = await traceServer(async (client) => {
    const push = async (index: number): Promise<void> => {
      const { manifest, blobs } = images[index] ?? makeImage(random, { shared, maxBytes: 1 })
      const repo = `durable/${index % 3}`
      // At the same time, so that they make the same folders.
      await Promise.all(blobs.map((blob) => pushBlob(client, repo, blob)))
      expectStatus(await putManifest(client, { repo, reference: `t${index}` }, manifest), 201)
      const mounting = `?mount=${blobs[0]?.digest}&from=${repo}`
      const path = `/v2/mounted/${index}/blobs/uploads/${mounting}`
      expectStatus(await client.request('POST', path), 201)
    }
    for (const batch of [
      [0, 1, 2, 3, 4, 5],
      [6, 7],
      [8, 9, 10, 11],
    ]) {
      await Promise.all(batch.map(push))
    }
  })
  const tags = new Map(images.map(({ manifest }, index) => [manifest.digest, `t${index}`]))
  const blobs = answers(traced, '201', /Location: \S*\/v2\/(\S+\/blobs\/\w+:\w+)\\r/)
  t.true(blobs.length >= 12 * 4)
  for (const { begin, value } of blobs) {
    const [repo, digest = ''] = value.split('/blobs/')
    const needed = [blobPath(digest), linkIn(`${repo}/_layers`, digest)]
    t.deepEqual(unsafe(traced, needed, begin), [], value)
  }
  const manifests = answers(traced, '201', /Location: \S*\/v2\/(\S+\/manifests\/\w+:\w+)\\r/)
  t.is(manifests.length, images.length)
  for (const { begin, value } of manifests) {
    const [repo, digest = ''] = value.split('/manifests/')
    const tag = `repositories/${repo}/_manifests/tags/${tags.get(digest)}`
    const index = `${tag}/index/${digest.replace(':', '/')}/link`
    const revision = linkIn(`${repo}/_manifests/revisions`, digest)
    const current = `${tag}/current/link`
    t.deepEqual(unsafe(traced, [blobPath(digest), revision, index, current], begin), [], value)
    const pointed = traced.calls.find(
      ({ name, paths }) => name === 'rename' && paths[1] === traced.at(current),
    )
    t.deepEqual(unsafe(traced, [revision, index], pointed?.begin ?? 0), [], `${current} came first`)
  }
  checkLinks(t, traced)
})

tracedTest('durability: the bytes of a chunk are safe before its offset is told', async (t) => {
  const traced = await traceServer(async (client) => {
    const location = await startUpload(client, 'durable/chunks')
    for (const first of [0, 300_000, 600_000]) {
      expectStatus(
        await patch(client, location, { body: Buffer.alloc(300_000, first), first }),
        202,
      )
    }
  })
  const chunks = answers(traced, '202', /uploads\/([0-9a-f-]+)\\r.*Range: 0-\d{2,}/)
  t.is(chunks.length, 3)
  for (const { begin, value } of chunks) {
    const session = `repositories/durable/chunks/_uploads/${value}`
    t.true(traced.model.isSafeUnderAnyName(traced.at(`${session}/data`), begin))
    t.true(traced.model.isNameSafe(traced.at(`${session}/startedat`), begin))
  }
})

tracedTest('durability: what is deleted stays deleted after a power cut', async (t) => {
  const random = createRandom(4)
  const shared = makeLayers(random, 2, 1000)
  const { manifest, blobs } = makeImage(random, { shared, maxBytes: 1000 })
  const layer = blobs[1]?.digest ?? ''
  const repo = 'durable/deletions'
  const traced = await traceServer(async (client) => {
    for (const blob of blobs) await pushBlob(client, repo, blob)
    for (const reference of ['one', 'two']) {
      expectStatus(await putManifest(client, { repo, reference }, manifest), 201)
    }
    for (const path of ['manifests/one', `manifests/${manifest.digest}`, `blobs/${layer}`]) {
      expectStatus(await client.request('DELETE', `/v2/${repo}/${path}`), 202)
    }
    // No answer that looks like those before it, so that theirs can be told.
    expectStatus(await client.request('GET', `/v2/${repo}/blobs/${layer}`), 404)
  })
  const all = answers(traced, '202', /(202)/)
  const [tag = 0, revision = 0, blob = 0] = all.slice(-3).map(({ begin }) => begin)
  const isGone = (path: string, moment: number): boolean =>
    traced.model.isSafelyGone(traced.at(`repositories/${repo}/${path}`), moment)
  t.true(isGone('_manifests/tags/one', tag))
  t.true(isGone('_manifests/tags/two', revision))
  t.true(isGone(`_manifests/revisions/${manifest.digest.replace(':', '/')}`, revision))
  t.true(isGone(`_layers/${layer.replace(':', '/')}`, blob))
})

test('durability: the model knows a file that is not synced, and a name that is not', (t) => {
  const created = '1 openat(AT_FDCWD</>, "/s/f.tmp", O_WRONLY|O_CREAT|O_EXCL, 0666) = 3</s/f.tmp>'
  const written = '1 write(3</s/f.tmp>, "abc", 3) = 3'
  const synced = '1 fsync(3</s/f.tmp>) = 0'
  const renamed = '1 rename("/s/f.tmp", "/s/f") = 0'
  const folder = '1 fsync(4</s>) = 0'
  const isSafe = (...lines: string[]): boolean =>
    createDurabilityModel(parseTrace(lines.join('\n'))).isSafe('/s/f', lines.length)
  t.true(isSafe(created, written, synced, renamed, folder))
  t.false(isSafe(created, written, renamed, folder), 'the bytes')
  t.false(isSafe(created, written, renamed, synced, folder), 'the bytes, in time')
  t.false(isSafe(created, synced, written, renamed, folder), 'all bytes')
  t.false(isSafe(created, written, synced, renamed), 'the name')
  t.false(isSafe(created, written, synced, folder, renamed), 'the name, in time')
  t.false(
    isSafe('1 mkdir("/s", 0777) = 0', created, written, synced, renamed, folder),
    'the folder',
  )
})

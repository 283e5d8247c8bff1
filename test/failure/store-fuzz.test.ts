import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import fc from 'fast-check'
import { digestOf } from '../specification/content.ts'
import { config, good, layer, nonsenseManifests, repo } from '../support/nonsense-manifests.ts'
import type { NonsenseRequest } from '../support/nonsense-request.ts'
import { nonsenseRequests } from '../support/nonsense-requests.ts'
import { openRawClient } from '../support/raw-client.ts'
import {
  createRegistryClient,
  expectStatus,
  pullContent,
  pushBlob,
  putManifest,
  type RegistryClient,
  startUpload,
} from '../support/registry-client.ts'
import { faultsIn, type StoreProcess, startStoreProcess } from '../support/store-process.ts'
import { faultsOf, readStore } from '../support/store-tree.ts'

const resources = new AsyncDisposableStack()
let target: { root: string; server: StoreProcess; client: RegistryClient } | undefined

/** One server for the whole file, with an image in it. */
test.before(async () => {
  const { path } = resources.use(await mkdtempDisposable(join(tmpdir(), 'tidegate-fuzz-')))
  const server = resources.use(await startStoreProcess(path))
  const client = resources.use(createRegistryClient(server.origin))
  for (const part of [config, layer]) await pushBlob(client, repo, part)
  expectStatus(await putManifest(client, { repo, reference: 'good' }, good), 201)
  target = { root: path, server, client }
})

test.after.always(() => resources.disposeAsync())

function subject(): NonNullable<typeof target> {
  if (target === undefined) throw new Error('the server did not start')
  return target
}

type Spoken = { readonly status: number; readonly head: string; readonly body: string }

/** Sends a request byte for byte and reads the answer until the connection closes. */
async function speak({ request, isWhole }: NonsenseRequest): Promise<Spoken> {
  using client = await openRawClient(subject().server)
  client.send(request)
  // Or the server would wait for what was promised.
  if (!isWhole) client.socket.end()
  const received = await client.ended()
  const [, status = '0'] = /^HTTP\/1\.1 (\d{3})/.exec(received) ?? []
  const end = received.indexOf('\r\n\r\n')
  return { status: Number(status), head: received.slice(0, end), body: received.slice(end + 4) }
}

/** Why an answer is none that a registry may give to nonsense. */
function blame(
  { status, head, body }: Spoken,
  { method, isWhole }: NonsenseRequest,
): string | undefined {
  if (status === 0 && !isWhole) return undefined
  if (status < 200 || status >= 500) return `status ${status}: ${body}`
  if (status < 400 || method === 'HEAD') return undefined
  if (!/^content-type: application\/json/im.test(head)) return `no JSON: ${head}`
  try {
    const { errors } = JSON.parse(body) as { errors: { code: unknown; message: unknown }[] }
    const isError = errors.every((e) => typeof e.code === 'string' && typeof e.message === 'string')
    return isError && errors.length > 0 ? undefined : `no error: ${body}`
  } catch (error) {
    return `${error}: ${body}`
  }
}

/** Fails with the shortest request that gets a wrong answer. */
async function noneIsWrong(
  t: ExecutionContext,
  requests: fc.Arbitrary<NonsenseRequest>,
  numRuns: number,
): Promise<void> {
  let shortest = ''
  const property = fc.asyncProperty(requests, async (request) => {
    const reason = blame(await speak(request), request)
    if (reason === undefined) return
    shortest = `${reason}\n${request.request.subarray(0, 2000).toString('latin1')}`
    throw new Error(reason)
  })
  const limits = { numRuns, seed: 20, interruptAfterTimeLimit: 60_000 }
  await fc.assert(property, limits).catch(() => {})
  t.is(shortest, '')
  t.deepEqual(faultsIn(subject().server), [])
}

test.serial('fuzz: no manifest, whatever is in it, is more than a clear error', (t) =>
  noneIsWrong(t, nonsenseManifests, 1200),
)

test.serial(
  'fuzz: what of it was taken can be pulled, listed, referred to and deleted',
  async (t) => {
    const { client, server } = subject()
    const { tags } = JSON.parse(
      (await client.request('GET', `/v2/${repo}/tags/list`)).body.toString(),
    ) as { tags: string[] }
    t.true(tags.includes('good'))
    for (const tag of tags) await pullContent(client, repo, { kind: 'manifests', reference: tag })
    for (const digest of [good.digest, config.digest, layer.digest, digestOf('nothing')]) {
      expectStatus(await client.request('GET', `/v2/${repo}/referrers/${digest}`), 200)
    }
    for (const tag of tags.filter((name) => name !== 'good')) {
      expectStatus(await client.request('DELETE', `/v2/${repo}/manifests/${tag}`), 202)
    }
    t.deepEqual(faultsIn(server), [])
  },
)

test.serial('fuzz: no request, whatever it asks, is more than a clear error', async (t) => {
  const { client } = subject()
  const sessions = await Promise.all(Array.from({ length: 8 }, () => startUpload(client, repo)))
  await noneIsWrong(t, nonsenseRequests(sessions), 2500)
})

test.serial('fuzz: after all of it the store is whole, and the server lives', async (t) => {
  const { root, server, client } = subject()
  const bytes = await pullContent(client, repo, { kind: 'manifests', reference: 'good' })
  t.true(bytes.equals(good.bytes))
  t.deepEqual(faultsOf(await readStore(root)), [])
  t.is(await server.stop(), 0)
})

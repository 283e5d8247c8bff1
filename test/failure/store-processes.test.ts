import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { blob, type Content, descriptor, image, types } from '../specification/content.ts'
import { makeImage, makeLayers } from '../support/images.ts'
import { createRandom, pick, randomContent } from '../support/random.ts'
import {
  type Answer,
  createRegistryClient,
  errorCodesOf,
  expectStatus,
  finish,
  patch,
  pullContent,
  pullImage,
  pushBlob,
  putManifest,
  type RegistryClient,
  startUpload,
} from '../support/registry-client.ts'
import { offsetIn } from '../support/store-ledger.ts'
import { faultsIn, type StoreProcess, startStoreProcess } from '../support/store-process.ts'
import { faultsOf, readStore } from '../support/store-tree.ts'
import { visibleTags } from '../support/store-walk.ts'

type Pair = {
  readonly root: string
  readonly one: RegistryClient
  readonly two: RegistryClient
  /** A repository of the test's own. */
  readonly repo: string
}

let pair: Omit<Pair, 'repo'> | undefined
let repositories = 0
const resources = new AsyncDisposableStack()
const servers: StoreProcess[] = []

/** Two servers on one new folder, and a client of each, for the whole file. */
test.before(async () => {
  const { path } = resources.use(await mkdtempDisposable(join(tmpdir(), 'tidegate-pair-')))
  for (let count = 0; count < 2; count += 1) {
    servers.push(resources.use(await startStoreProcess(path)))
  }
  const [one, two] = servers.map(({ origin }) => resources.use(createRegistryClient(origin)))
  if (one !== undefined && two !== undefined) pair = { root: path, one, two }
})

test.after('processes: nothing that went on between them has left anything wrong', async (t) => {
  t.deepEqual(servers.flatMap(faultsIn), [])
  const tree = await readStore(pair?.root ?? '')
  t.deepEqual(faultsOf(tree), [])
  t.deepEqual(tree.uploads, [])
  t.deepEqual(tree.others, [])
})

test.after.always(() => resources.disposeAsync())

async function withPair(use: (pair: Pair) => Promise<void>): Promise<void> {
  if (pair === undefined) throw new Error('the servers did not start')
  repositories += 1
  await use({ ...pair, repo: `team/app${repositories}` })
}

function bytes(seed: number, size: number): Buffer {
  return randomContent(createRandom(seed), size)
}

/** Tags that the catalog and the lists show of a repository. */
async function tagsIn(client: RegistryClient, repo: string): Promise<string[]> {
  const tags = (await visibleTags(client)).map((key) => key.split(' '))
  return tags.flatMap(([name, tag = '']) => (name === repo ? [tag] : []))
}

type Client = { readonly client: RegistryClient; readonly repo: string }

/** A small image whose blobs the repository has from now on. */
async function prepareImage({ client, repo }: Client, seed: number): Promise<Content> {
  const random = createRandom(seed)
  const shared = makeLayers(random, 2, 1000)
  const { manifest, blobs } = makeImage(random, { shared, maxBytes: 1000 })
  for (const content of blobs) await pushBlob(client, repo, content)
  return manifest
}

test.serial('processes: pushes of one digest through both all succeed', (t) =>
  withPair(async ({ one, two, repo }) => {
    const content = blob(bytes(1, 500_000))
    const pushes = Array.from({ length: 24 }, (_, index) =>
      pushBlob(index % 2 === 0 ? one : two, `${repo}/${index % 3}`, content),
    )
    await Promise.all(pushes)
    for (const client of [one, two]) {
      const reference = content.digest
      for (const index of [0, 1, 2]) {
        const pulled = await pullContent(client, `${repo}/${index}`, { kind: 'blobs', reference })
        t.true(pulled.equals(content.bytes))
      }
    }
  }),
)

test.serial('processes: a tag that both overwrite means one of what was pushed, to both', (t) =>
  withPair(async ({ one, two, repo }) => {
    const manifests = await Promise.all(
      [1, 2, 3, 4].map((seed) => prepareImage({ client: one, repo }, seed)),
    )
    for (let round = 0; round < 6; round += 1) {
      const path = { repo, reference: 'latest' }
      const clients = [one, two, one, two]
      await Promise.all(
        manifests.map(async (manifest, index) => {
          expectStatus(await putManifest(clients[index] ?? one, path, manifest), 201)
        }),
      )
      const seen = await pullContent(one, repo, { kind: 'manifests', reference: 'latest' })
      const other = await pullContent(two, repo, { kind: 'manifests', reference: 'latest' })
      t.true(seen.equals(other))
      t.true(manifests.some((manifest) => manifest.bytes.equals(seen)))
    }
  }),
)

test.serial(
  'processes: what one overwrites or deletes the other shows in its very next answer',
  (t) =>
    withPair(async ({ one, two, repo }) => {
      const random = createRandom(7)
      const manifests = await Promise.all(
        [1, 2, 3].map((seed) => prepareImage({ client: one, repo }, seed)),
      )
      const digestAt = async (client: RegistryClient, reference: string): Promise<unknown> => {
        const answer = await client.request('GET', `/v2/${repo}/manifests/${reference}`)
        expectStatus(answer, 200, 404)
        return answer.status === 200 ? answer.headers['docker-content-digest'] : undefined
      }
      for (let round = 0; round < 30; round += 1) {
        const [writer, reader] = round % 2 === 0 ? [one, two] : [two, one]
        const manifest = pick(random, manifests)
        const { digest } = manifest
        const path = { repo, reference: 'moving' }
        expectStatus(await putManifest(writer, path, manifest), 201)
        t.is(await digestAt(reader, 'moving'), digest)
        t.is(await digestAt(reader, digest), digest)
        t.deepEqual(await tagsIn(reader, repo), ['moving'])
        if (round % 3 === 0) {
          expectStatus(await writer.request('DELETE', `/v2/${repo}/manifests/moving`), 202)
          t.is(await digestAt(reader, 'moving'), undefined)
          t.is(await digestAt(reader, digest), digest, 'only the tag went')
          t.deepEqual(await tagsIn(reader, repo), [])
        }
        if (round % 5 === 0) {
          expectStatus(await writer.request('DELETE', `/v2/${repo}/manifests/${digest}`), 202)
          t.is(await digestAt(reader, digest), undefined)
          t.is(await digestAt(reader, 'moving'), undefined)
        }
      }
    }),
)

test.serial('processes: a blob that one deletes or pushes the other misses or has at once', (t) =>
  withPair(async ({ one, two, repo }) => {
    const content = blob(bytes(3, 20_000))
    const path = `/v2/${repo}/blobs/${content.digest}`
    for (let round = 0; round < 10; round += 1) {
      const [writer, reader] = round % 2 === 0 ? [one, two] : [two, one]
      t.is((await reader.request('HEAD', path)).status, 404)
      await pushBlob(writer, repo, content)
      t.is((await reader.request('HEAD', path)).status, 200)
      t.true((await reader.request('GET', path)).body.equals(content.bytes))
      expectStatus(await writer.request('DELETE', path), 202)
      t.is((await reader.request('GET', path)).status, 404)
    }
  }),
)

test.serial(
  'processes: a referrer that one is given or loses the other lists or not at once',
  (t) =>
    withPair(async ({ one, two, repo }) => {
      const subject = await prepareImage({ client: one, repo }, 1)
      const config = blob('{}', { mediaType: types.empty })
      await pushBlob(one, repo, config)
      const list = async (client: RegistryClient): Promise<string[]> => {
        const answer = await client.request('GET', `/v2/${repo}/referrers/${subject.digest}`)
        const { manifests } = JSON.parse(expectStatus(answer, 200).body.toString()) as {
          manifests: { digest: string }[]
        }
        return manifests.map(({ digest }) => digest)
      }
      for (let round = 0; round < 6; round += 1) {
        const [writer, reader] = round % 2 === 0 ? [one, two] : [two, one]
        const annotations = { round: String(round) }
        const fields = { config, layers: [config], subject: descriptor(subject), annotations }
        const referrer = image(fields)
        const path = { repo, reference: referrer.digest }
        t.deepEqual(await list(reader), [])
        expectStatus(await putManifest(writer, path, referrer), 201)
        t.deepEqual(await list(reader), [referrer.digest])
        expectStatus(
          await writer.request('DELETE', `/v2/${repo}/manifests/${referrer.digest}`),
          202,
        )
        t.deepEqual(await list(reader), [])
      }
    }),
)

test.serial('processes: one upload session goes on through either', (t) =>
  withPair(async ({ one, two, repo }) => {
    const content = blob(bytes(5, 900_000))
    const location = await startUpload(one, repo)
    for (let first = 0; first < 900_000; first += 100_000) {
      const [client, other] = first % 200_000 === 0 ? [two, one] : [one, two]
      const body = content.bytes.subarray(first, first + 100_000)
      expectStatus(await patch(client, location, { body, first }), 202)
      const status = expectStatus(await other.request('GET', location), 204)
      t.is(offsetIn(status.headers.range), first + 100_000)
    }
    expectStatus(await finish(two, location, content), 201)
    t.is((await one.request('GET', location)).status, 404)
    await pullContent(one, repo, { kind: 'blobs', reference: content.digest })
  }),
)

test.serial(
  'processes: of chunks that claim one place in a session, through both, one is taken',
  (t) =>
    withPair(async ({ one, two, repo }) => {
      for (let round = 0; round < 6; round += 1) {
        const candidates = [0, 1, 2, 3].map((index) => bytes(round * 10 + index, 200_000))
        const location = await startUpload(one, repo)
        const answers = await Promise.all(
          candidates.map((body, index) =>
            patch(index % 2 === 0 ? one : two, location, { body, first: 0 }),
          ),
        )
        const status = expectStatus(await two.request('GET', location), 204)
        const size = offsetIn(status.headers.range)
        const taken = answers.filter((answer) => answer.status === 202).length
        t.true(taken <= 1, answers.map(({ status }) => status).join())
        checkRefusals(t, answers)
        // A holder that was superseded has left what it had; the client goes on from there.
        const winner = candidates.find((_, index) => answers[index]?.status === 202)
        t.is(size, winner === undefined ? size : winner.length)
        if (winner === undefined) {
          expectStatus(await one.request('DELETE', location), 204)
          continue
        }
        const content = blob(winner)
        expectStatus(await finish(two, location, content), 201)
        await pullContent(one, repo, { kind: 'blobs', reference: content.digest })
      }
    }),
)

test.serial('processes: an end of one session through both makes the blob, once', (t) =>
  withPair(async ({ one, two, repo }) => {
    for (let round = 0; round < 6; round += 1) {
      const content = blob(bytes(round, 300_000))
      const location = await startUpload(one, repo)
      expectStatus(await patch(one, location, { body: content.bytes, first: 0 }), 202)
      const clients = [one, two, one, two]
      const answers = await Promise.all(clients.map((client) => finish(client, location, content)))
      checkRefusals(t, answers)
      const isMade = answers.some(({ status }) => status === 201)
      if (!isMade) expectStatus(await finish(one, location, content), 201)
      await pullContent(two, repo, { kind: 'blobs', reference: content.digest })
    }
  }),
)

test.serial(
  'processes: what is cancelled through one while the other is fed is gone for both',
  (t) =>
    withPair(async ({ one, two, repo }) => {
      for (let round = 0; round < 6; round += 1) {
        const location = await startUpload(one, repo)
        const feeding = patch(one, location, { body: bytes(round, 400_000), first: 0 })
        expectStatus(await two.request('DELETE', location), 204)
        const fed = await feeding
        if (fed.status !== 202) checkRefusals(t, [fed])
        for (const client of [one, two]) t.is((await client.request('GET', location)).status, 404)
      }
    }),
)

test.serial('processes: images of many clients through both are whole through both', (t) =>
  withPair(async ({ one, two, repo }) => {
    const random = createRandom(11)
    const shared = makeLayers(random, 4, 200_000)
    const images = Array.from({ length: 20 }, () => makeImage(random, { shared, maxBytes: 50_000 }))
    await Promise.all(
      images.map(async ({ manifest, blobs }, index) => {
        const [client, other] = index % 2 === 0 ? [one, two] : [two, one]
        // Layer by layer through another server, as behind a load balancer.
        for (const [at, content] of blobs.entries()) {
          await pushBlob(at % 2 === 0 ? client : other, repo, content)
        }
        const path = { repo, reference: `tag${index}` }
        expectStatus(await putManifest(other, path, manifest), 201)
        await pullImage(client, repo, `tag${index}`)
      }),
    )
    t.is((await tagsIn(one, repo)).length, images.length)
    t.deepEqual(await tagsIn(two, repo), await tagsIn(one, repo))
  }),
)

/** Whoever loses a race is told so in a way that clients understand. */
function checkRefusals(t: ExecutionContext, answers: readonly Answer[]): void {
  for (const answer of answers.filter(({ status }) => status >= 300)) {
    t.true([400, 404, 416].includes(answer.status), String(answer.body))
    const known = ['RANGE_INVALID', 'BLOB_UPLOAD_INVALID', 'BLOB_UPLOAD_UNKNOWN']
    t.true(
      errorCodesOf(answer).every((code) => known.includes(code)),
      String(answer.body),
    )
  }
}

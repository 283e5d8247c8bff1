import test from 'ava'
import { ways } from './blob-pushes.ts'
import { anyRepo, blob, type Content } from './content.ts'
import {
  type Answer,
  expect,
  patch,
  pushBlobs,
  registryOfFile,
  startUpload,
  target,
} from './support.ts'

/*
 * How the OCI conformance program, in its development version, tries blobs; told again in our words.
 * sha512 is not announced with `digest-algorithm`: the registry learns of it at the end.
 */
const registry = registryOfFile()
const blobOf = (repo: string, { digest }: Content) => `/v2/${repo}/blobs/${digest}`
const head = (path: string) => registry.request('HEAD', path)
const get = (path: string, headers: Record<string, string> = {}) =>
  registry.request('GET', path, { headers })

/** What is wrong with a blob that was pushed and answered so, pulled and deleted; nothing, it is hoped. */
async function flaws(repo: string, content: Content, pushed: Answer): Promise<string[]> {
  const { bytes, digest } = content
  const path = blobOf(repo, content)
  const length = String(bytes.length)
  const located = await get(target(registry, pushed.header('location')))
  const [headed, pulled] = [await head(path), await get(path)]
  const removed = await registry.request('DELETE', path)
  const facts: Record<string, boolean> = {
    'push is 201': pushed.status === 201,
    'push names the digest': [undefined, digest].includes(pushed.header('docker-content-digest')),
    'Location is pullable': located.status === 200 && located.body.equals(bytes),
    'HEAD is 200': headed.status === 200 && headed.body.length === 0,
    'HEAD tells the length': headed.header('content-length') === length,
    'HEAD tells the digest': headed.header('docker-content-digest') === digest,
    'GET is 200': pulled.status === 200 && pulled.body.equals(bytes),
    'GET tells the length': pulled.header('content-length') === length,
    'GET tells the digest': pulled.header('docker-content-digest') === digest,
    'DELETE is 202': removed.status === 202,
    'it is gone at once': (await head(path)).status === 404,
  }
  return Object.keys(facts).filter((name) => facts[name] !== true)
}

for (const algorithm of ['sha256', 'sha512'] as const) {
  const contents = {
    '512 bytes': () => blob(512, { algorithm }),
    '3067 bytes': () => blob(3067, { algorithm }),
    'no bytes': () => blob('', { algorithm }),
    'an empty JSON object': () => blob('{}', { algorithm }),
  }
  for (const [way, push] of Object.entries(ways)) {
    test(`conformance: ${algorithm} blobs can be pushed by ${way}, pulled and deleted`, async (t) => {
      for (const [title, make] of Object.entries(contents)) {
        const repo = anyRepo()
        const content = make()
        t.deepEqual(await flaws(repo, content, await push(registry, repo, content)), [], title)
      }
    })

    test(`conformance: ${way} of bytes that are not of their ${algorithm} is 400`, async (t) => {
      const repo = anyRepo()
      const { digest, bytes, mediaType } = blob(3067, { algorithm })
      const wrong = { digest, mediaType, bytes: Buffer.concat([bytes, Buffer.from('more')]) }
      t.is((await push(registry, repo, wrong)).status, 400)
      t.is((await head(blobOf(repo, wrong))).status, 404)
    })
  }

  for (const [title, hasFrom] of [
    ['from the repository that has them', true],
    ['from nowhere in particular', false],
  ] as const) {
    test(`conformance: ${algorithm} blobs can be mounted ${title}`, async (t) => {
      const [repo, from] = [anyRepo(), anyRepo()]
      const content = blob(512, { algorithm })
      await pushBlobs(registry, from, [content])
      const query = `?mount=${content.digest}${hasFrom ? `&from=${from}` : ''}`
      const answer = await registry.request('POST', `/v2/${repo}/blobs/uploads/${query}`)
      t.deepEqual(await flaws(repo, content, answer), [])
      t.is((await head(blobOf(from, content))).status, 200)
    })
  }

  test(`conformance: a mount of a ${algorithm} blob that is missing becomes a push`, async (t) => {
    const [repo, from] = [anyRepo(), anyRepo()]
    const content = blob(512, { algorithm })
    const query = `?mount=${content.digest}&from=${from}`
    const answer = await registry.request('POST', `/v2/${repo}/blobs/uploads/${query}`)
    t.is(answer.status, 202)
    const path = target(registry, answer.header('location'), { digest: content.digest })
    const pushed = await registry.request('PUT', path, { body: content.bytes })
    t.deepEqual(await flaws(repo, content, pushed), [])
  })

  test(`conformance: a ${algorithm} blob that was never pushed, or cancelled, is 404`, async (t) => {
    const repo = anyRepo()
    const content = blob(512, { algorithm })
    t.is((await get(blobOf(repo, content))).status, 404)
    const location = await startUpload(registry, repo)
    t.is((await registry.request('DELETE', location)).status, 204)
    t.is((await get(blobOf(repo, content))).status, 404)
  })

  for (const lastInPut of [false, true]) {
    const title = lastInPut ? 'and in the closing PUT' : 'in every PATCH'
    test(`conformance: ${algorithm}: out of order ${title} is 416, and GET leads back`, async (t) => {
      const repo = anyRepo()
      const size = 1024
      const content = blob(3 * size - 5, { algorithm })
      const { bytes, digest } = content
      let location = await startUpload(registry, repo)
      const send = (first: number) => {
        const body = bytes.subarray(first, first + size)
        if (!lastInPut || first + body.length < bytes.length) {
          return patch(registry, location, { first, body })
        }
        const headers = { 'Content-Range': `${first}-${bytes.length - 1}` }
        return registry.request('PUT', target(registry, location, { digest }), { headers, body })
      }
      for (let first = 0; first < bytes.length; first += size) {
        const wrong = first + size < bytes.length ? first + size : 0
        t.is((await send(wrong)).status, 416)
        const status = await get(location)
        t.is(status.status, 204)
        if (first > 0) t.is(status.header('range'), `0-${first - 1}`)
        location = target(registry, status.header('location'))
        const isLast = lastInPut && first + size >= bytes.length
        const answer = expect(await send(first), isLast ? 201 : 202)
        if (isLast) t.deepEqual(await flaws(repo, content, answer), [])
        else location = target(registry, answer.header('location'))
      }
      if (lastInPut) return
      const closed = await registry.request('PUT', target(registry, location, { digest }))
      t.deepEqual(await flaws(repo, content, closed), [])
    })
  }

  test(`conformance: parts of ${algorithm} blobs can be pulled`, async (t) => {
    const repo = anyRepo()
    const content = blob(2048, { algorithm })
    await pushBlobs(registry, repo, [content])
    const path = blobOf(repo, content)
    const ranges = [
      ['500-1499', 500, 1499],
      ['500-', 500, 2047],
      ['-500', 1548, 2047],
      ['2000-5000', 2000, 2047],
    ] as const
    for (const [range, first, last] of ranges) {
      const answer = await get(path, { Range: `bytes=${range}` })
      t.is(answer.status, 206, range)
      t.is(answer.header('content-length'), String(last - first + 1))
      t.is(answer.header('content-range'), `bytes ${first}-${last}/2048`)
      t.deepEqual(answer.body, content.bytes.subarray(first, last + 1))
    }
    for (const range of ['500-0', '5000-10000']) {
      t.is((await get(path, { Range: `bytes=${range}` })).status, 416, range)
    }
  })
}

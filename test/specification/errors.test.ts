import test from 'ava'
import fc from 'fast-check'
import { anyDigest, anyRepo, blob, digestOf, emptyJson, image, types } from './content.ts'
import {
  type Answer,
  errorCodes,
  openLockedRegistry,
  pushArtifact,
  pushBlobs,
  putManifest,
  registryOfFile,
  startUpload,
  target,
} from './support.ts'

const registry = registryOfFile()

/** One way to each code of the specification that a client can cause without a login. */
const causes: Record<string, () => Promise<Answer>> = {
  BLOB_UNKNOWN: () => registry.request('GET', `/v2/${anyRepo()}/blobs/${anyDigest()}`),
  BLOB_UPLOAD_UNKNOWN: () =>
    registry.request('GET', `/v2/${anyRepo()}/blobs/uploads/${crypto.randomUUID()}`),
  async DIGEST_INVALID() {
    const location = await startUpload(registry, anyRepo())
    const path = target(registry, location, { digest: anyDigest() })
    return await registry.request('PUT', path, { body: 'other bytes' })
  },
  MANIFEST_BLOB_UNKNOWN: () =>
    putManifest(registry, anyRepo(), image({ config: blob(), layers: [blob()] })),
  MANIFEST_INVALID: () =>
    putManifest(registry, anyRepo(), {
      ...{ bytes: Buffer.from('no JSON'), digest: digestOf('no JSON'), mediaType: types.image },
    }),
  MANIFEST_UNKNOWN: () => registry.request('GET', `/v2/${anyRepo()}/manifests/latest`),
  NAME_INVALID: () => registry.request('GET', '/v2/UPPER/tags/list'),
  NAME_UNKNOWN: () => registry.request('GET', `/v2/${anyRepo()}/tags/list`),
  async SIZE_INVALID() {
    const headers = { 'Content-Range': '0-9' }
    const location = await startUpload(registry, anyRepo())
    return await registry.request('PATCH', location, { headers, body: 'short' })
  },
  UNSUPPORTED: () => registry.request('DELETE', `/v2/${anyRepo()}/tags/list`),
}

function isErrorBody(answer: Answer): boolean {
  const { errors } = JSON.parse(answer.body.toString())
  const type = answer.header('content-type') ?? ''
  const isError = ({ code, message }: { code: unknown; message: unknown }) =>
    typeof code === 'string' && /^[A-Z_]+$/.test(code) && typeof message === 'string'
  return /^application\/json\b/.test(type) && errors.length > 0 && errors.every(isError)
}

for (const [code, cause] of Object.entries(causes)) {
  test(`E1: ${code} comes as 4xx with the JSON body of the specification`, async (t) => {
    const answer = await cause()
    t.true(answer.status >= 400 && answer.status < 500, String(answer.status))
    t.true(isErrorBody(answer), answer.body.toString())
  })

  test(`E2: ${code} is said where it is meant`, async (t) => {
    t.true(errorCodes(await cause()).includes(code))
  })
}

test('E1: what is refused by its path alone has the body as well', async (t) => {
  const paths = ['/v2/a/b', '/v2//a/tags/list', '/v2/a/../b/tags/list', '/v2/a%2Fb/tags/list']
  for (const path of [...paths, '/v2/a/blobs/latest', '/v2/a/tags/list/', '/v3/']) {
    const answer = await registry.request('GET', path)
    t.true(answer.status >= 400 && answer.status < 500, path)
    t.true(isErrorBody(answer), path)
  }
})

test('E1: whatever is sent as a manifest is taken or refused, and never an error of ours', async (t) => {
  const repo = anyRepo()
  await pushBlobs(registry, repo, [emptyJson])
  const mediaTypes = [
    types.image,
    types.index,
    types.dockerImage,
    types.dockerList,
    'text/plain',
    '',
  ]
  const text = fc.oneof(
    fc.json(),
    fc.string(),
    fc
      .record({
        schemaVersion: fc.oneof(fc.constant(2), fc.jsonValue()),
        mediaType: fc.oneof(fc.constantFrom(...mediaTypes), fc.jsonValue()),
        config: fc.jsonValue(),
        layers: fc.jsonValue(),
        manifests: fc.jsonValue(),
        subject: fc.jsonValue(),
        annotations: fc.jsonValue(),
      })
      .map((value) => JSON.stringify(value)),
  )
  const property = fc.asyncProperty(
    text,
    fc.constantFrom(...mediaTypes),
    async (body, mediaType) => {
      const bytes = Buffer.from(body)
      const answer = await putManifest(registry, repo, {
        ...{ bytes, digest: digestOf(bytes), mediaType },
      })
      return answer.status === 201 || (answer.status < 500 && isErrorBody(answer))
    },
  )
  await t.notThrowsAsync(fc.assert(property, { numRuns: 150 }))
})

test('E1: no query makes an error of ours', async (t) => {
  const repo = anyRepo()
  const { digest } = await pushArtifact(registry, repo, { reference: 'latest' })
  const names = [
    'n',
    'last',
    'artifactType',
    'digest',
    'mount',
    'from',
    'tag',
    'digest-algorithm',
    'ns',
  ]
  const query = fc.array(fc.tuple(fc.constantFrom(...names), fc.string().map(encodeURIComponent)), {
    maxLength: 4,
  })
  const request = fc.constantFrom<[string, string]>(
    ...(
      [
        ['GET', `/v2/${repo}/tags/list`],
        ['GET', `/v2/${repo}/referrers/${digest}`],
        ['GET', '/v2/_catalog'],
        ['POST', `/v2/${repo}/blobs/uploads/`],
        ['PUT', `/v2/${repo}/manifests/${digest}`],
      ] as const
    ).map(([method, path]): [string, string] => [method, path]),
  )
  const property = fc.asyncProperty(request, query, async ([method, path], fields) => {
    const search = fields.map((field) => field.join('=')).join('&')
    const answer = await registry.request(method, `${path}?${search}`)
    return answer.status < 400 || (answer.status < 500 && isErrorBody(answer))
  })
  await t.notThrowsAsync(fc.assert(property, { numRuns: 150 }))
})

test('E1: no header makes an error of ours', async (t) => {
  const repo = anyRepo()
  const layer = blob()
  await pushBlobs(registry, repo, [layer])
  const names = ['Range', 'If-Range', 'If-None-Match', 'If-Match', 'If-Modified-Since', 'Accept']
  const length = fc.nat(600).map(String)
  const part = fc.oneof(length, fc.constantFrom('bytes=', 'bytes ', '-', ',', '/', '*', '"', 'W/'))
  const value = fc.oneof(
    fc.stringMatching(/^[!-~]([ -~]{0,20}[!-~])?$/),
    fc.array(part, { maxLength: 6 }).map((parts) => parts.join('').trim()),
  )
  const pull = fc.asyncProperty(fc.constantFrom(...names), value, async (name, text) => {
    const path = `/v2/${repo}/blobs/${layer.digest}`
    const answer = await registry.request('GET', path, { headers: { [name]: text } })
    return answer.status < 500
  })
  await t.notThrowsAsync(fc.assert(pull, { numRuns: 100 }))
  const sent = fc.constantFrom('Content-Range', 'Content-Type', 'Content-Encoding')
  const push = fc.asyncProperty(sent, value, async (name, text) => {
    const location = await startUpload(registry, repo)
    const options = { headers: { [name]: text }, body: 'abc' }
    const answer = await registry.request('PATCH', location, options)
    return answer.status === 202 || (answer.status < 500 && isErrorBody(answer))
  })
  await t.notThrowsAsync(fc.assert(push, { numRuns: 100 }))
})

test('E1: the answer to HEAD tells the status and has no body', async (t) => {
  const repo = anyRepo()
  for (const path of ['manifests/latest', `blobs/${anyDigest()}`, 'manifests/-', 'blobs/none']) {
    const answer = await registry.request('HEAD', `/v2/${repo}/${path}`)
    t.true(answer.status >= 400 && answer.status < 500, path)
    t.is(answer.body.length, 0)
  }
})

test('E2: BLOB_UPLOAD_INVALID is said, or a code that tells more, of a chunk that cannot be', async (t) => {
  const location = await startUpload(registry, anyRepo())
  const headers = { 'Content-Range': 'no range' }
  const answer = await registry.request('PATCH', location, { headers, body: 'abc' })
  const codes = ['BLOB_UPLOAD_INVALID', 'RANGE_INVALID', 'SIZE_INVALID']
  t.true(codes.includes(errorCodes(answer)[0] ?? ''), answer.body.toString())
})

test('E2: UNAUTHORIZED is said to who has to log in, on every endpoint', async (t) => {
  await using locked = await openLockedRegistry(4)
  const repo = anyRepo()
  const requests = [
    ['GET', '/v2/'],
    ['GET', `/v2/${repo}/manifests/latest`],
    ['PUT', `/v2/${repo}/manifests/latest`],
    ['POST', `/v2/${repo}/blobs/uploads/`],
    ['DELETE', `/v2/${repo}/blobs/${anyDigest()}`],
    ['GET', '/v2/_catalog'],
  ] as const
  for (const [method, path] of requests) {
    const answer = await locked.request(method, path)
    t.is(answer.status, 401)
    t.deepEqual(errorCodes(answer), ['UNAUTHORIZED'])
    t.true(isErrorBody(answer))
  }
})

test('E2: DENIED is said by nobody as long as everyone who is let in may do everything', async (t) => {
  const made = await pushArtifact(registry, anyRepo())
  const repo = anyRepo()
  const answers = [
    await registry.request('GET', `/v2/${repo}/manifests/${made.digest}`),
    await registry.request('DELETE', `/v2/${repo}/manifests/${made.digest}`),
    await registry.request('POST', `/v2/${repo}/blobs/uploads/`),
  ]
  t.deepEqual(
    answers.map(({ status }) => status),
    [404, 404, 202],
  )
})

// TOOMANYREQUESTS has its test with Retry-After, see G7 in general.test.ts.

/** Warning values, RFC 9111 section 5.5 as narrowed by the specification: `299 - "text"`. */
const warnings = /^299 - "(?:[^"\\]|\\.)*"(?:, ?299 - "(?:[^"\\]|\\.)*")*$/

for (const [id, title] of [
  ['W1', 'a Warning, if there is one, has the form of the specification and its length'],
  ['W2', 'so a client has nothing to report twice: no answer has two of the same'],
] as const) {
  test(`${id}: ${title}`, async (t) => {
    const repo = anyRepo()
    await pushArtifact(registry, repo, { reference: 'latest' })
    const answers = [
      await registry.request('GET', '/v2/'),
      await registry.request('GET', `/v2/${repo}/manifests/latest`),
      await registry.request('POST', `/v2/${repo}/blobs/uploads/`),
      ...(await Promise.all(Object.values(causes).map((cause) => cause()))),
    ]
    for (const answer of answers) {
      const warning = answer.header('warning')
      if (id === 'W1') t.true(warning === undefined || warnings.test(warning), warning)
      if (id === 'W1') t.true((warning ?? '').length <= 4096)
      const parts = warning?.split(/,\s*(?=299 )/) ?? []
      if (id === 'W2') t.is(new Set(parts).size, parts.length)
    }
  })
}

import test from 'ava'
import fc from 'fast-check'
import { parseByteRange } from '../../../../src/lib/ranges.ts'
import { ask, digestOf, errorIn, headerOf, MemoryRegistry, startEmbedded } from './support.ts'

const content = Buffer.from('0123456789')
const digest = digestOf(content)
const path = `/v2/team/app/blobs/${digest}`

async function startWithBlob() {
  const registry = new MemoryRegistry()
  registry.addBlob('team/app', content)
  const front = await startEmbedded(registry)
  return { ...front, registry }
}

test('blobs: one that the repository does not have is BLOB_UNKNOWN for every method', async (t) => {
  await using front = await startWithBlob()
  for (const method of ['GET', 'HEAD', 'DELETE']) {
    for (const unknown of [`/v2/other/blobs/${digest}`, `/v2/team/app/blobs/${digestOf('no')}`]) {
      const answer = await ask(front, `${method} ${unknown}`)
      t.is(answer.status, 404)
      if (method !== 'HEAD') t.is(errorIn(answer).code, 'BLOB_UNKNOWN')
    }
  }
})

test('blobs: one with a digest that nobody could verify is BLOB_UNKNOWN', async (t) => {
  await using front = await startWithBlob()
  for (const method of ['GET', 'HEAD', 'DELETE'])
    t.is((await ask(front, `${method} /v2/team/app/blobs/a+b:c`)).status, 404)
})

test('blobs: GET sends it with all that is known of it', async (t) => {
  await using front = await startWithBlob()
  const answer = await ask(front, `GET ${path}`)
  t.is(answer.status, 200)
  t.is(answer.body, '0123456789')
  t.is(headerOf(answer, 'content-type'), 'application/octet-stream')
  t.is(headerOf(answer, 'content-length'), '10')
  t.is(headerOf(answer, 'docker-content-digest'), digest)
  t.is(headerOf(answer, 'etag'), `"${digest}"`)
  t.is(headerOf(answer, 'cache-control'), 'max-age=31536000')
  t.is(headerOf(answer, 'accept-ranges'), 'bytes')
  t.is(headerOf(answer, 'docker-distribution-api-version'), 'registry/2.0')
  t.regex(headerOf(answer, 'x-request-id') ?? '', /./)
})

test('blobs: HEAD says what GET would, without a body, and is a promise to a pusher', async (t) => {
  await using front = await startWithBlob()
  const get = await ask(front, `GET ${path}`)
  t.is(front.registry.promises, 0)
  const head = await ask(front, `HEAD ${path}`)
  t.is(front.registry.promises, 1)
  t.is(head.status, 200)
  t.is(head.body, '')
  const variable = { date: [], 'x-request-id': [] }
  t.deepEqual({ ...head.headers, ...variable }, { ...get.headers, ...variable })
})

for (const [value, first, last] of [
  ['bytes=2-5', 2, 5],
  ['bytes=2-', 2, 9],
  ['bytes=-3', 7, 9],
  ['bytes=8-100', 8, 9],
  ['bytes=0-0', 0, 0],
] as const) {
  test(`blobs: the range ${value} is sent alone`, async (t) => {
    await using front = await startWithBlob()
    const answer = await ask(front, `GET ${path}`, { headers: [`Range: ${value}`] })
    t.is(answer.status, 206)
    t.is(answer.body, '0123456789'.slice(first, last + 1))
    t.is(headerOf(answer, 'content-range'), `bytes ${first}-${last}/10`)
    t.is(headerOf(answer, 'content-length'), String(last - first + 1))
    t.is(headerOf(answer, 'docker-content-digest'), digest)
  })
}

for (const value of ['bytes=10-', 'bytes=500-0', 'bytes=-0']) {
  test(`blobs: the range ${value} is 416, with the size and an error that is whole`, async (t) => {
    await using front = await startWithBlob()
    const answer = await ask(front, `GET ${path}`, { headers: [`Range: ${value}`] })
    t.is(answer.status, 416)
    t.is(headerOf(answer, 'content-range'), 'bytes */10')
    t.is(headerOf(answer, 'content-length'), String(answer.body.length))
    t.is(errorIn(answer).code, 'RANGE_INVALID')
    t.is(front.registry.open, 0)
  })
}

for (const [what, ...headers] of [
  ['several ranges', 'Range: bytes=0-1,4-5'],
  ['several Range lines', 'Range: bytes=0-1', 'Range: bytes=4-5'],
  ['another unit', 'Range: lines=0-1'],
  ['a range of something else', 'Range: bytes=0-1', `If-Range: "${digestOf('else')}"`],
  ['a range with a weak condition', 'Range: bytes=0-1', `If-Range: W/"${digest}"`],
  ['a range with a date', 'Range: bytes=0-1', 'If-Range: Sat, 29 Oct 1994 19:43:31 GMT'],
] as const) {
  test(`blobs: ${what} gets the whole`, async (t) => {
    await using front = await startWithBlob()
    const answer = await ask(front, `GET ${path}`, { headers })
    t.is(answer.status, 200)
    t.is(answer.body, '0123456789')
    t.is(headerOf(answer, 'content-range'), undefined)
  })
}

test('blobs: a range that is still about the same bytes is sent', async (t) => {
  await using front = await startWithBlob()
  const headers = ['Range: bytes=0-1', `If-Range: "${digest}"`]
  const answer = await ask(front, `GET ${path}`, { headers })
  t.deepEqual([answer.status, answer.body], [206, '01'])
})

test('blobs: a Range means nothing to HEAD', async (t) => {
  await using front = await startWithBlob()
  const answer = await ask(front, `HEAD ${path}`, { headers: ['Range: bytes=500-0'] })
  t.deepEqual([answer.status, headerOf(answer, 'content-length')], [200, '10'])
})

for (const value of [
  `"${digest}"`,
  digest,
  `W/"${digest}"`,
  `"other", "${digest}"`,
  `"other" , W/"${digest}"`,
  '*',
]) {
  test(`blobs: a client that has it (${value.replace(digest, 'digest')}) is told so`, async (t) => {
    await using front = await startWithBlob()
    for (const method of ['GET', 'HEAD']) {
      const headers = [`If-None-Match: ${value}`, 'Range: bytes=0-1']
      const answer = await ask(front, `${method} ${path}`, { headers })
      t.is(answer.status, 304)
      t.is(answer.body, '')
      t.is(headerOf(answer, 'etag'), `"${digest}"`)
      t.is(headerOf(answer, 'docker-content-digest'), digest)
      t.is(headerOf(answer, 'content-length'), undefined)
    }
    t.is(front.registry.open, 0)
  })
}

test('blobs: a client that has something else gets it', async (t) => {
  await using front = await startWithBlob()
  for (const value of [`"${digestOf('else')}"`, '""', `"${digest}`, `x"${digest}"`, ',']) {
    const answer = await ask(front, `GET ${path}`, { headers: [`If-None-Match: ${value}`] })
    t.is(answer.status, 200, value)
  }
})

test('blobs: what is not there is 404, whatever the client has', async (t) => {
  await using front = await startWithBlob()
  const unknown = `/v2/other/blobs/${digest}`
  for (const method of ['GET', 'HEAD'])
    t.is((await ask(front, `${method} ${unknown}`, { headers: ['If-None-Match: *'] })).status, 404)
})

test('blobs: one without a byte is sent like any other', async (t) => {
  const registry = new MemoryRegistry()
  const empty = registry.addBlob('a', Buffer.alloc(0))
  await using front = await startEmbedded(registry)
  for (const headers of [[], ['Range: bytes=0-'], ['Range: bytes=-5']]) {
    const answer = await ask(front, `GET /v2/a/blobs/${empty}`, { headers })
    t.is(answer.status, 200)
    t.is(answer.body, '')
    t.is(headerOf(answer, 'content-length'), '0')
  }
})

test('blobs: DELETE takes it away at once', async (t) => {
  await using front = await startWithBlob()
  const answer = await ask(front, `DELETE ${path}`)
  t.is(answer.status, 202)
  t.is(headerOf(answer, 'content-length'), '0')
  t.is((await ask(front, `HEAD ${path}`)).status, 404)
})

test('blobs: whatever the range, what comes is that part of the whole', async (t) => {
  const registry = new MemoryRegistry()
  const large = Buffer.alloc(300_000, 'all of these bytes are worth sending; ')
  const largeDigest = registry.addBlob('a', large)
  await using front = await startEmbedded(registry)
  const position = fc.option(fc.nat(350_000), { nil: '' })
  await fc.assert(
    fc.asyncProperty(position, position, async (first, last) => {
      const value = `bytes=${first}-${last}`
      const answer = await ask(front, `GET /v2/a/blobs/${largeDigest}`, {
        headers: [`Range: ${value}`],
      })
      const range = parseByteRange(value, large.length)
      if (range === 'unsatisfiable') {
        t.is(answer.status, 416, value)
        return
      }
      const expected = range === undefined ? large : large.subarray(range.first, range.last + 1)
      t.is(answer.status, range === undefined ? 200 : 206)
      t.true(Buffer.from(answer.body, 'latin1').equals(expected), value)
    }),
    { numRuns: 40 },
  )
})

test('blobs: GET and HEAD of another one than If-Match names are 412', async (t) => {
  await using front = await startWithBlob()
  for (const method of ['GET', 'HEAD']) {
    const answer = await ask(front, `${method} ${path}`, {
      headers: [`If-Match: "${digestOf('other')}"`],
    })
    t.is(answer.status, 412)
    for (const value of [`"${digest}"`, digest, '*'])
      t.is((await ask(front, `${method} ${path}`, { headers: [`If-Match: ${value}`] })).status, 200)
  }
})

test('blobs: no browser is to guess what they are, and http.headers may say so itself', async (t) => {
  await using front = await startWithBlob()
  for (const method of ['GET', 'HEAD'])
    t.is(headerOf(await ask(front, `${method} ${path}`), 'x-content-type-options'), 'nosniff')
  const configured = ['x-content-type-options', 'theirs']
  await using own = await startEmbedded(front.registry, {}, { headers: configured })
  t.is(headerOf(await ask(own, `GET ${path}`), 'x-content-type-options'), 'theirs')
})

import test from 'ava'
import fc from 'fast-check'
import { anyRepo, blob, digestOf } from './content.ts'
import { errorCodes, expect, patch, registryOfFile, startUpload, target } from './support.ts'

const registry = registryOfFile()
const uploadsOf = (repo: string, query = '') => `/v2/${repo}/blobs/uploads/${query}`
const finish = (location: string, digest: string, body: Buffer | string = '') =>
  registry.request('PUT', target(registry, location, { digest }), {
    headers: { 'Content-Type': 'application/octet-stream' },
    body,
  })

for (const range of [
  '0-',
  '-2',
  '0',
  'a-b',
  '2-0',
  '0-2,3-5',
  'bytes */3',
  '0-99999999999999999999',
]) {
  test(`U10: Content-Range "${range}" is refused and nothing of the chunk is kept`, async (t) => {
    const location = await startUpload(registry, anyRepo())
    const headers = { 'Content-Range': range }
    const answer = await registry.request('PATCH', location, { headers, body: 'abc' })
    t.true([400, 416].includes(answer.status), String(answer.status))
    expect(await patch(registry, location, { first: 0, body: 'xyz' }), 202)
    t.is((await finish(location, digestOf('xyz'))).status, 201)
  })
}

test('U10: the form of RFC 9110, which some clients send, is held to the same order', async (t) => {
  const location = await startUpload(registry, anyRepo())
  const send = (range: string, body: string) =>
    registry.request('PATCH', location, { headers: { 'Content-Range': range }, body })
  t.is((await send('bytes 3-5/6', 'def')).status, 416)
  t.is((await send('bytes 0-2/6', 'abc')).status, 202)
  t.is((await send('bytes 0-2/6', 'abc')).status, 416)
  t.is((await send('bytes 3-5/*', 'def')).status, 202)
  t.is((await finish(location, digestOf('abcdef'))).status, 201)
})

for (const [range, title] of [
  ['0-4', 'longer'],
  ['0-1', 'shorter'],
] as const) {
  test(`U10: a Content-Range ${title} than the chunk is 400 and nothing is kept`, async (t) => {
    const location = await startUpload(registry, anyRepo())
    for (const bytes of [{ body: 'abc' }, { pieces: ['a', 'bc'] }]) {
      const headers = { 'Content-Range': range }
      const answer = await registry.request('PATCH', location, { headers, ...bytes })
      t.is(answer.status, 400)
      t.deepEqual(errorCodes(answer), ['SIZE_INVALID'])
    }
    expect(await patch(registry, location, { first: 0, body: 'xyz' }), 202)
    t.is((await finish(location, digestOf('xyz'))).status, 201)
  })
}

test('U11: a chunk is 202 with Location and the Range of all that has arrived', async (t) => {
  const repo = anyRepo()
  let location = await startUpload(registry, repo)
  for (const [first, end] of [
    [0, 999],
    [1000, 1000],
    [1001, 2999],
  ] as const) {
    const body = Buffer.alloc(end - first + 1)
    const answer = await patch(registry, location, { first, body })
    t.is(answer.status, 202)
    t.is(answer.header('range'), `0-${end}`)
    location = target(registry, answer.header('location'))
  }
})

test('U11: a stream without Content-Range is taken whole, and another goes on from there', async (t) => {
  const repo = anyRepo()
  const { bytes, digest } = blob(200_000)
  const location = await startUpload(registry, repo)
  const stream = (from: number, to: number) =>
    registry.request('PATCH', location, {
      pieces: [bytes.subarray(from, from + 10), bytes.subarray(from + 10, to)],
    })
  const first = await stream(0, 150_000)
  t.is(first.status, 202)
  t.is(first.header('range'), '0-149999')
  t.is((await stream(150_000, 200_000)).header('range'), '0-199999')
  t.is((await finish(location, digest)).status, 201)
})

test('U12: a chunk out of order is 416 and the session stays where it was', async (t) => {
  const location = await startUpload(registry, anyRepo())
  t.is((await patch(registry, location, { first: 1, body: 'b' })).status, 416)
  expect(await patch(registry, location, { first: 0, body: 'abcd' }), 202)
  for (const first of [0, 3, 5, 1_000_000, Number.MAX_SAFE_INTEGER - 10]) {
    const answer = await patch(registry, location, { first, body: 'wxyz' })
    t.is(answer.status, 416, `from ${first}`)
    const status = await registry.request('GET', location)
    t.is(status.header('range'), '0-3')
  }
  expect(await patch(registry, location, { first: 4, body: 'ef' }), 202)
  t.is((await finish(location, digestOf('abcdef'))).status, 201)
})

test('U12: 416 tells where to go on, so that no second request is needed', async (t) => {
  const location = await startUpload(registry, anyRepo())
  expect(await patch(registry, location, { first: 0, body: 'abcd' }), 202)
  const answer = await patch(registry, location, { first: 8, body: 'wxyz' })
  t.is(answer.header('range'), '0-3')
  const next = target(registry, answer.header('location'))
  expect(await patch(registry, next, { first: 4, body: 'ef' }), 202)
  t.is((await finish(next, digestOf('abcdef'))).status, 201)
})

test('U12: whatever the order of the chunks, only the one that fits is taken', async (t) => {
  const content = Buffer.from('0123456789')
  const chunk = fc.tuple(fc.nat(9), fc.integer({ min: 1, max: 10 }))
  const property = fc.asyncProperty(fc.array(chunk, { maxLength: 6 }), async (chunks) => {
    const location = await startUpload(registry, anyRepo())
    let offset = 0
    for (const [first, length] of chunks) {
      const body = content.subarray(first, first + length)
      const { status } = await patch(registry, location, { first, body })
      if (status !== (first === offset ? 202 : 416)) return false
      if (status === 202) offset += body.length
    }
    const closed = await finish(location, digestOf(content), content.subarray(offset))
    return closed.status === 201
  })
  await t.notThrowsAsync(fc.assert(property, { numRuns: 25 }))
})

test('U12: of chunks that come to the same place at once, at most one is taken', async (t) => {
  const bodies = ['aaaa', 'bbbb', 'cccc', 'dddd']
  for (let round = 0; round < 5; round++) {
    const location = await startUpload(registry, anyRepo())
    const answers = await Promise.all(
      bodies.map((body) => patch(registry, location, { first: 0, body })),
    )
    const statuses = answers.map(({ status }) => status)
    // Who is put out by a newer request may be told so in place of 416.
    t.true(
      statuses.every((status) => [202, 400, 416].includes(status)),
      statuses.join(),
    )
    const taken = bodies.filter((_, i) => statuses[i] === 202)
    t.true(taken.length <= 1, statuses.join())
    const [body] = taken
    if (body !== undefined) t.is((await finish(location, digestOf(body))).status, 201)
    else t.is((await registry.request('GET', location)).status, 204)
  }
})

test('U13: the closing PUT may carry the last chunk, with its range or without', async (t) => {
  for (const headers of [{ 'Content-Range': '4-5' }, {}]) {
    const location = await startUpload(registry, anyRepo())
    expect(await patch(registry, location, { first: 0, body: 'abcd' }), 202)
    const path = target(registry, location, { digest: digestOf('abcdef') })
    const answer = await registry.request('PUT', path, { headers, body: 'ef' })
    t.is(answer.status, 201)
    const found = await registry.request('GET', target(registry, answer.header('location')))
    t.is(found.body.toString(), 'abcdef')
  }
})

test('U13: a last chunk out of order is 416 and the session goes on', async (t) => {
  const location = await startUpload(registry, anyRepo())
  expect(await patch(registry, location, { first: 0, body: 'abcd' }), 202)
  const path = target(registry, location, { digest: digestOf('abcdef') })
  for (const range of ['0-1', '3-4', '5-6']) {
    const headers = { 'Content-Range': range }
    const answer = await registry.request('PUT', path, { headers, body: 'ef' })
    t.is(answer.status, 416, range)
  }
  t.is((await registry.request('GET', location)).header('range'), '0-3')
  const headers = { 'Content-Range': '4-5' }
  t.is((await registry.request('PUT', path, { headers, body: 'ef' })).status, 201)
})

test('U13: the digest is that of the whole, not of the last chunk', async (t) => {
  const location = await startUpload(registry, anyRepo())
  expect(await patch(registry, location, { first: 0, body: 'abcd' }), 202)
  const answer = await finish(location, digestOf('ef'), 'ef')
  t.is(answer.status, 400)
  t.deepEqual(errorCodes(answer), ['DIGEST_INVALID'])
})

test('U14: the status of a session is 204 with Location and Range', async (t) => {
  const location = await startUpload(registry, anyRepo())
  const fresh = await registry.request('GET', location)
  t.is(fresh.status, 204)
  t.is(fresh.header('range'), '0-0')
  expect(await patch(registry, location, { first: 0, body: 'abcd' }), 202)
  const status = await registry.request('GET', target(registry, fresh.header('location')))
  t.is(status.status, 204)
  t.is(status.header('range'), '0-3')
  t.is((await finish(target(registry, status.header('location')), digestOf('abcd'))).status, 201)
})

test('U14: a session that never was, has ended or is of another repository is 404', async (t) => {
  const repo = anyRepo()
  const location = await startUpload(registry, repo)
  const ended = await startUpload(registry, repo)
  expect(await finish(ended, digestOf('')), 201)
  const elsewhere = location.replace(repo, anyRepo())
  for (const path of [uploadsOf(repo, crypto.randomUUID()), ended, elsewhere]) {
    for (const method of ['GET', 'PATCH', 'PUT', 'DELETE']) {
      const query = method === 'PUT' ? { digest: digestOf('') } : {}
      const answer = await registry.request(method, target(registry, path, query))
      t.is(answer.status, 404, `${method} ${path}`)
      t.deepEqual(errorCodes(answer), ['BLOB_UPLOAD_UNKNOWN'])
    }
  }
  t.is((await registry.request('GET', location)).status, 204)
})

test('U15: a session that is cancelled is 204 and gone at once', async (t) => {
  const location = await startUpload(registry, anyRepo())
  expect(await patch(registry, location, { first: 0, body: 'abcd' }), 202)
  t.is((await registry.request('DELETE', location)).status, 204)
  t.is((await registry.request('GET', location)).status, 404)
  t.is((await registry.request('DELETE', location)).status, 404)
  t.is((await finish(location, digestOf('abcd'))).status, 404)
})

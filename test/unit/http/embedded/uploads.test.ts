import { once } from 'node:events'
import net from 'node:net'
import test from 'ava'
import { RegistryError } from '../../../../src/lib/errors.ts'
import { until } from '../../relay/support.ts'
import { type RawAnswer, sendRaw } from '../support.ts'
import { ask, digestOf, errorIn, headerOf, MemoryRegistry, startEmbedded } from './support.ts'

const begin = '/v2/team/app/blobs/uploads/'
const origin = 'http://registry.example:8443'

async function start(options: Parameters<typeof startEmbedded>[1] = {}) {
  const registry = new MemoryRegistry()
  const front = await startEmbedded(registry, options)
  return { ...front, registry }
}

type Front = Awaited<ReturnType<typeof start>>

/** Begins a session; its path. */
async function startUpload(front: Front): Promise<string> {
  const answer = await ask(front, `POST ${begin}`)
  return (headerOf(answer, 'location') ?? '').slice(origin.length)
}

/** What an answer says of a session: path, range and id. */
function sessionIn(answer: RawAnswer): (string | undefined)[] {
  const location = headerOf(answer, 'location')?.slice(origin.length)
  return [location, headerOf(answer, 'range'), headerOf(answer, 'docker-upload-uuid')]
}

const idOf = (path: string): string => path.slice(begin.length)

test('uploads: a session that nobody began is BLOB_UPLOAD_UNKNOWN for every method', async (t) => {
  await using front = await start()
  const path = `${begin}unknown`
  const other = (await startUpload(front)).replace('team/app', 'team/other')
  for (const [line, extra] of [
    [`GET ${path}`, {}],
    [`PATCH ${path}`, { body: 'abc' }],
    [`PUT ${path}?digest=${digestOf('abc')}`, { body: 'abc' }],
    [`DELETE ${path}`, {}],
    [`GET ${other}`, {}],
  ] as const) {
    const answer = await ask(front, line, extra)
    t.is(answer.status, 404, line)
    t.is(errorIn(answer).code, 'BLOB_UPLOAD_UNKNOWN', line)
  }
})

test('uploads: POST begins a session, PATCH goes on, GET tells, PUT ends it', async (t) => {
  await using front = await start()
  const begun = await ask(front, `POST ${begin}`, { body: '' })
  t.is(begun.status, 202)
  t.is(headerOf(begun, 'content-length'), '0')
  const [path = ''] = sessionIn(begun)
  t.deepEqual(sessionIn(begun), [path, '0-0', idOf(path)])

  const patched = await ask(front, `PATCH ${path}`, { body: 'abc' })
  t.is(patched.status, 202)
  t.is(headerOf(patched, 'content-length'), '0')
  t.deepEqual(sessionIn(patched), [path, '0-2', idOf(path)])

  for (const method of ['GET', 'HEAD']) {
    const told = await ask(front, `${method} ${path}`)
    t.is(told.status, 204)
    t.is(headerOf(told, 'content-length'), undefined)
    t.deepEqual(sessionIn(told), [path, '0-2', idOf(path)])
  }
  const digest = digestOf('abcdef')
  const done = await ask(front, `PUT ${path}?digest=${digest}`, { body: 'def' })
  t.is(done.status, 201)
  t.is(headerOf(done, 'content-length'), '0')
  t.is(headerOf(done, 'location'), `${origin}/v2/team/app/blobs/${digest}`)
  t.is(headerOf(done, 'docker-content-digest'), digest)
  t.is((await ask(front, `GET /v2/team/app/blobs/${digest}`)).body, 'abcdef')
})

test('uploads: with relative references a Location has neither scheme nor host', async (t) => {
  await using front = await start({ relative: true })
  const begun = await ask(front, `POST ${begin}`)
  const path = headerOf(begun, 'location') ?? ''
  t.true(path.startsWith(begin))
  const digest = digestOf('abc')
  const done = await ask(front, `PUT ${path}?digest=${digest}`, { body: 'abc' })
  t.is(headerOf(done, 'location'), `/v2/team/app/blobs/${digest}`)
})

test('uploads: DELETE ends a session', async (t) => {
  await using front = await start()
  const path = await startUpload(front)
  const answer = await ask(front, `DELETE ${path}`)
  t.is(answer.status, 204)
  t.is(headerOf(answer, 'docker-upload-uuid'), idOf(path))
  t.is((await ask(front, `GET ${path}`)).status, 404)
})

for (const method of ['PATCH', 'PUT']) {
  test(`uploads: a chunk out of order in ${method} is 416, says where the session stands and changes nothing`, async (t) => {
    await using front = await start()
    const path = await startUpload(front)
    await ask(front, `PATCH ${path}`, { body: 'abc' })
    const query = method === 'PUT' ? `?digest=${digestOf('abcdef')}` : ''
    for (const range of ['4-6', '0-2', '2-4']) {
      const headers = [`Content-Range: ${range}`]
      const answer = await ask(front, `${method} ${path}${query}`, { headers, body: 'def' })
      t.is(answer.status, 416, range)
      t.is(errorIn(answer).code, 'RANGE_INVALID')
      t.deepEqual(sessionIn(answer), [path, '0-2', idOf(path)])
    }
    const headers = ['Content-Range: 3-5']
    const answer = await ask(front, `${method} ${path}${query}`, { headers, body: 'def' })
    t.is(answer.status, method === 'PUT' ? 201 : 202)
  })
}

for (const value of ['3', 'a-b', '5-3', 'bytes */3', '0-2, 3-5', '0-99999999999999999999']) {
  test(`uploads: the Content-Range ${value} is refused before anything is read`, async (t) => {
    await using front = await start()
    const path = await startUpload(front)
    const headers = [`Content-Range: ${value}`]
    for (const line of [`PATCH ${path}`, `PUT ${path}?digest=${digestOf('abc')}`]) {
      const answer = await ask(front, line, { headers, body: 'abc' })
      t.is(answer.status, 400)
      t.is(errorIn(answer).code, 'BLOB_UPLOAD_INVALID')
    }
    t.is(headerOf(await ask(front, `GET ${path}`), 'range'), '0-0')
  })
}

test('uploads: a chunk that is not as long as its range is refused before it is read', async (t) => {
  await using front = await start()
  const path = await startUpload(front)
  const head = `PATCH ${path} HTTP/1.1\r\nHost: a\r\nContent-Range: 0-9\r\nContent-Length: 11\r\n\r\n`
  const answer = await sendRaw(front.port, head, (text) => text.includes('}]}'))
  t.is(answer.status, 400)
  t.is(errorIn(answer).code, 'SIZE_INVALID')
})

test('uploads: a range may come with a unit and a total', async (t) => {
  await using front = await start()
  const path = await startUpload(front)
  for (const range of ['bytes 0-2/*', 'bytes 3-5/12', 'bytes=6-8', '9-11']) {
    const headers = [`Content-Range: ${range}`]
    t.is((await ask(front, `PATCH ${path}`, { headers, body: 'abc' })).status, 202, range)
  }
  t.is(headerOf(await ask(front, `GET ${path}`), 'range'), '0-11')
})

test('uploads: bodies are bytes, whatever type they are said to have', async (t) => {
  await using front = await start()
  const body = 'a=1&b=%20'
  for (const type of ['application/x-www-form-urlencoded', 'text/plain', 'nonsense']) {
    const path = await startUpload(front)
    const headers = [`Content-Type: ${type}`]
    const query = `?digest=${digestOf(body)}`
    t.is((await ask(front, `PUT ${path}${query}`, { headers, body })).status, 201, type)
  }
})

for (const [what, query] of [
  ['missing', ''],
  ['empty', '?digest='],
  ['malformed', '?digest=sha256:abc'],
  ['of an algorithm that nobody knows', '?digest=md5:d41d8cd98f00b204e9800998ecf8427e'],
] as const) {
  test(`uploads: a digest that is ${what} is DIGEST_INVALID, and the session goes on`, async (t) => {
    await using front = await start()
    const path = await startUpload(front)
    const answer = await ask(front, `PUT ${path}${query}`, { body: 'abc' })
    t.is(answer.status, 400)
    t.is(errorIn(answer).code, 'DIGEST_INVALID')
    t.is(headerOf(await ask(front, `GET ${path}`), 'range'), '0-0')
  })
}

test('uploads: content that is not what the digest says is DIGEST_INVALID', async (t) => {
  await using front = await start()
  const path = await startUpload(front)
  const answer = await ask(front, `PUT ${path}?digest=${digestOf('abc')}`, { body: 'abd' })
  t.is(answer.status, 400)
  t.is(errorIn(answer).code, 'DIGEST_INVALID')
})

test('uploads: a closing PUT without a body has no chunk, whatever range it repeats', async (t) => {
  await using front = await start()
  for (const extra of [{}, { body: '' }, { headers: ['Content-Range: 0-2'], body: '' }]) {
    const path = await startUpload(front)
    await ask(front, `PATCH ${path}`, { body: 'abc' })
    t.is((await ask(front, `PUT ${path}?digest=${digestOf('abc')}`, extra)).status, 201)
  }
})

test('uploads: two digests that differ are refused', async (t) => {
  await using front = await start()
  const path = await startUpload(front)
  const query = `?digest=${digestOf('abc')}&digest=${digestOf('abd')}`
  for (const line of [`PUT ${path}${query}`, `POST ${begin}${query}`]) {
    const answer = await ask(front, line, { body: 'abc' })
    t.is(errorIn(answer).code, 'REQUEST_INVALID')
  }
})

for (const algorithm of ['sha256', 'sha512']) {
  test(`uploads: a blob may come in one POST with its ${algorithm}`, async (t) => {
    await using front = await start()
    for (const body of ['abc', '']) {
      const digest = digestOf(body, algorithm)
      const answer = await ask(front, `POST ${begin}?digest=${digest}`, { body })
      t.is(answer.status, 201)
      t.is(headerOf(answer, 'location'), `${origin}/v2/team/app/blobs/${digest}`)
      t.is(headerOf(answer, 'docker-content-digest'), digest)
    }
    const digest = digestOf('', algorithm)
    t.is((await ask(front, `POST ${begin}?digest=${digest}`)).status, 201)
    t.is(front.registry.sessions.size, 0)
  })
}

test('uploads: nothing stays of a POST with content that does not match', async (t) => {
  await using front = await start()
  const answer = await ask(front, `POST ${begin}?digest=${digestOf('abc')}`, { body: 'abd' })
  t.is(errorIn(answer).code, 'DIGEST_INVALID')
  t.is(front.registry.sessions.size, 0)
  t.is((await ask(front, `POST ${begin}?digest=nonsense`, { body: 'abc' })).status, 400)
  t.is(front.registry.sessions.size, 0)
})

test('uploads: nothing stays of a POST whose client leaves', async (t) => {
  await using front = await start()
  const socket = net.connect(front.port, '127.0.0.1').on('error', () => {})
  await once(socket, 'connect')
  socket.write(
    `POST ${begin}?digest=${digestOf('abcdef')} HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc`,
  )
  await until(() => [...front.registry.sessions.values()].length === 1)
  socket.destroy()
  await until(() => front.registry.sessions.size === 0)
  t.is(front.registry.content.size, 0)
})

test('uploads: a session may be begun for an algorithm, if it is one that there is', async (t) => {
  await using front = await start()
  t.is((await ask(front, `POST ${begin}?digest-algorithm=sha512`)).status, 202)
  const refused = await ask(front, `POST ${begin}?digest-algorithm=md5`)
  t.is(refused.status, 400)
  t.is(errorIn(refused).code, 'DIGEST_INVALID')
})

test('uploads: a blob of another repository is mounted', async (t) => {
  await using front = await start()
  const digest = front.registry.addBlob('other', Buffer.from('abc'))
  const elsewhere = front.registry.addBlob('third', Buffer.from('def'))
  const answer = await ask(front, `POST ${begin}?mount=${digest}&from=other`, { body: '' })
  t.is(answer.status, 201)
  t.is(headerOf(answer, 'location'), `${origin}/v2/team/app/blobs/${digest}`)
  t.is(headerOf(answer, 'docker-content-digest'), digest)
  t.is((await ask(front, `GET /v2/team/app/blobs/${digest}`)).body, 'abc')
  t.is((await ask(front, `POST ${begin}?mount=${elsewhere}`)).status, 201)
  t.is(front.registry.sessions.size, 0)
})

for (const [what, query] of [
  ['that nobody has', `?mount=${digestOf('no')}&from=other`],
  ['that nobody has, from anywhere', `?mount=${digestOf('no')}`],
  ['of a repository that does not have it', `?mount=${digestOf('abc')}&from=third`],
  ['of what is no repository', `?mount=${digestOf('abc')}&from=Not%2Fa..name`],
] as const) {
  test(`uploads: a mount of a blob ${what} begins a session instead`, async (t) => {
    await using front = await start()
    front.registry.addBlob('other', Buffer.from('abc'))
    const answer = await ask(front, `POST ${begin}${query}`)
    t.is(answer.status, 202)
    const [path = ''] = sessionIn(answer)
    t.is((await ask(front, `GET ${path}`)).status, 204)
  })
}

test('uploads: a mount of what is no digest is DIGEST_INVALID', async (t) => {
  await using front = await start()
  for (const mount of ['', 'nonsense', 'md5:d41d8cd98f00b204e9800998ecf8427e']) {
    const answer = await ask(front, `POST ${begin}?mount=${mount}&from=other`)
    t.is(answer.status, 400)
    t.is(errorIn(answer).code, 'DIGEST_INVALID')
  }
})

test('uploads: what arrived before a client left is kept, and is no fault of ours', async (t) => {
  await using front = await start()
  const path = await startUpload(front)
  const socket = net.connect(front.port, '127.0.0.1').on('error', () => {})
  await once(socket, 'connect')
  socket.write(`PATCH ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc`)
  const session = front.registry.sessions.get(idOf(path))
  socket.end()
  await until(() => session?.content.toString() === 'abc')
  const requests = (): unknown[] => front.lines.filter(({ msg }) => msg === 'request')
  await until(() => requests().length === 2)
  t.is(headerOf(await ask(front, `GET ${path}`), 'range'), '0-2')
  t.false(front.lines.some(({ level }) => level === 'error' || level === 'warn'))
})

test('uploads: a client that stands still is told so, and what arrived is kept', async (t) => {
  await using front = await start({ idleTimeoutMs: 100 })
  const path = await startUpload(front)
  const head = `PATCH ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc`
  const answer = await sendRaw(front.port, head)
  t.is(answer.status, 408)
  t.is(errorIn(answer).code, 'REQUEST_TIMEOUT')
  t.is(headerOf(await ask(front, `GET ${path}`), 'range'), '0-2')
})

test('uploads: a chunked body that gets too long is 413', async (t) => {
  await using front = await start({ maxBodyBytes: 5 })
  const path = await startUpload(front)
  const head = `PATCH ${path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n`
  const answer = await sendRaw(front.port, `${head}6\r\nabcdef\r\n0\r\n\r\n`, (text) =>
    text.includes('}]}'),
  )
  t.is(answer.status, 413)
  t.is(errorIn(answer).code, 'REQUEST_TOO_LARGE')
})

test('uploads: a streamed body without a length arrives', async (t) => {
  await using front = await start()
  const path = await startUpload(front)
  const head = `PATCH ${path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n`
  const answer = await sendRaw(front.port, `${head}3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n`)
  t.is(answer.status, 202)
  t.is(headerOf(answer, 'range'), '0-5')
})

test('uploads: a client that asks first learns that it is refused before it sends', async (t) => {
  await using front = await start()
  const path = await startUpload(front)
  const expects = 'Host: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\nConnection: close'
  for (const [line, range, status] of [
    [`PATCH ${begin}unknown`, '0-2', 404],
    [`PATCH ${path}`, '1-3', 416],
    [`PATCH ${path}`, '0-3', 400],
    [`PUT ${path}`, '0-2', 400],
    [`PUT ${path}?digest=${digestOf('abc')}`, '1-3', 416],
    [`POST ${begin}?digest=nonsense`, '0-2', 400],
  ] as const) {
    const head = `${line} HTTP/1.1\r\nContent-Range: ${range}\r\n${expects}\r\n\r\n`
    const answer = await sendRaw(front.port, head)
    t.is(answer.status, status, line)
    t.false(answer.raw.includes('100 Continue'), line)
  }
  const head = `PATCH ${path} HTTP/1.1\r\n${expects}\r\n\r\n`
  const socket = net.connect(front.port, '127.0.0.1')
  let text = ''
  socket.on('data', (bytes) => {
    text += bytes.toString('latin1')
  })
  socket.write(head)
  await until(() => text.includes('100 Continue\r\n\r\n'))
  socket.write('abc')
  await until(() => text.includes('202 Accepted'))
  socket.destroy()
})

test('uploads: an answer before the body has arrived ends the connection, after it was read', async (t) => {
  await using front = await start()
  const { uploads } = front.registry
  const full: typeof uploads = {
    ...uploads,
    async append(_name, _id, chunk) {
      await chunk.source.fill(Buffer.alloc(1000))
      throw new RegistryError('STORAGE_FULL')
    },
  }
  await using small = await startEmbedded({ ...front.registry, uploads: full })
  const length = 4 * 1024 * 1024
  const head = `PATCH ${begin}x HTTP/1.1\r\nHost: a\r\nContent-Length: ${length}\r\n\r\n`
  const answer = await sendRaw(small.port, head + 'x'.repeat(length))
  t.is(answer.status, 507)
  t.is(errorIn(answer).code, 'STORAGE_FULL')
  t.is(headerOf(answer, 'connection'), 'close')
})

import net from 'node:net'
import test from 'ava'
import { until } from '../../relay/support.ts'
import { sendRaw } from '../support.ts'
import { ask, digestOf, errorIn, headerOf, MemoryRegistry, startEmbedded } from './support.ts'

const type = 'application/vnd.oci.image.manifest.v1+json'
const body = JSON.stringify({ schemaVersion: 2, mediaType: type })
const digest = digestOf(body)
const pushed = { headers: [`Content-Type: ${type}`], body }
const path = '/v2/team/app/manifests'
const origin = 'http://registry.example:8443'

async function start(options: Parameters<typeof startEmbedded>[1] = {}) {
  const registry = new MemoryRegistry()
  const front = await startEmbedded(registry, options)
  return { ...front, registry }
}

test('manifests: one that is not there is MANIFEST_UNKNOWN for every method', async (t) => {
  await using front = await start()
  for (const reference of ['latest', digest, 'md5:d41d8cd98f00b204e9800998ecf8427e', 'a+b:c']) {
    for (const method of ['GET', 'DELETE']) {
      const answer = await ask(front, `${method} ${path}/${reference}`)
      t.is(answer.status, 404, reference)
      t.is(errorIn(answer).code, 'MANIFEST_UNKNOWN')
    }
    t.is((await ask(front, `HEAD ${path}/${reference}`)).status, 404)
  }
})

for (const length of ['Content-Length: 0', undefined]) {
  test(`manifests: one without a byte (${length}) is MANIFEST_INVALID`, async (t) => {
    await using front = await start()
    const headers = length === undefined ? [] : [length]
    const answer = await ask(front, `PUT ${path}/latest`, { headers })
    t.is(answer.status, 400)
    t.is(errorIn(answer).code, 'MANIFEST_INVALID')
    t.is(front.registry.pushes.length, 0)
  })
}

test('manifests: one that is announced as too large is 413 before a byte of it is read', async (t) => {
  await using front = await start({ maxManifestBytes: 10 })
  const head = (more: string): string =>
    `PUT ${path}/latest HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n${more}\r\n`
  for (const more of ['', 'Expect: 100-continue\r\n']) {
    const answer = await sendRaw(front.port, head(more), (text) => text.includes('}]}'))
    t.is(answer.status, 413)
    t.is(errorIn(answer).code, 'SIZE_INVALID')
    t.deepEqual(errorIn(answer).detail, { maxManifestBytes: 10 })
  }
  t.is((await ask(front, `PUT ${path}/latest`, { body: '0123456789' })).status, 201)
})

test('manifests: one that says nothing of its length is 413 when it gets too large', async (t) => {
  await using front = await start({ maxManifestBytes: 40_000 })
  const head = `PUT ${path}/latest HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n`
  const chunk = `2710\r\n${'x'.repeat(10_000)}\r\n`
  const large = await sendRaw(front.port, head + chunk.repeat(5), (text) => text.includes('}]}'))
  t.is(large.status, 413)
  t.is(front.registry.pushes.length, 0)
  const fitting = await sendRaw(front.port, `${head}${chunk.repeat(4)}0\r\n\r\n`)
  t.is(fitting.status, 201)
  t.deepEqual(front.registry.pushes[0]?.content, Buffer.alloc(40_000, 'x'))
})

test('manifests: one whose client leaves before it is complete is not stored', async (t) => {
  await using front = await start()
  const socket = net.connect(front.port, '127.0.0.1').on('error', () => {})
  socket.write(`PUT ${path}/latest HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{}`)
  await until(() => front.handled.length === 1)
  socket.destroy()
  await until(() => front.lines.some(({ msg }) => msg === 'request'))
  t.is(front.lines.find(({ msg }) => msg === 'request')?.['status'], 499)
  t.is(front.registry.pushes.length, 0)
  t.false(front.lines.some(({ level }) => level === 'error' || level === 'warn'))
})

test('manifests: one that is pushed by a tag can be pulled by tag and digest, byte for byte', async (t) => {
  await using front = await start()
  const put = await ask(front, `PUT ${path}/latest`, pushed)
  t.is(put.status, 201)
  t.is(headerOf(put, 'location'), `${origin}${path}/${digest}`)
  t.is(headerOf(put, 'docker-content-digest'), digest)
  t.is(headerOf(put, 'content-length'), '0')
  t.is(headerOf(put, 'oci-tag'), undefined)
  t.is(headerOf(put, 'oci-subject'), undefined)
  for (const reference of ['latest', digest]) {
    for (const accept of [[], ['Accept: */*'], ['Accept: text/html']]) {
      const got = await ask(front, `GET ${path}/${reference}`, { headers: accept })
      t.is(got.status, 200)
      t.is(got.body, body)
      t.is(headerOf(got, 'content-type'), type)
      t.is(headerOf(got, 'content-length'), String(body.length))
      t.is(headerOf(got, 'docker-content-digest'), digest)
      t.is(headerOf(got, 'etag'), `"${digest}"`)
      t.is(headerOf(got, 'cache-control'), undefined)
    }
  }
})

test('manifests: HEAD says what GET would, without a body', async (t) => {
  await using front = await start()
  await ask(front, `PUT ${path}/latest`, pushed)
  const get = await ask(front, `GET ${path}/latest`)
  const head = await ask(front, `HEAD ${path}/latest`)
  const variable = { date: [], 'x-request-id': [] }
  t.is(head.body, '')
  t.deepEqual({ ...head.headers, ...variable }, { ...get.headers, ...variable })
})

test('manifests: parameters of the media type are not part of it', async (t) => {
  await using front = await start()
  for (const [value, mediaType] of [
    [`${type}; charset=utf-8`, type],
    [`${type};charset=utf-8`, type],
    [type, type],
    [';charset=utf-8', undefined],
    ['', undefined],
  ] as const) {
    await ask(front, `PUT ${path}/latest`, { headers: [`Content-Type: ${value}`], body })
    t.is(front.registry.pushes.at(-1)?.mediaType, mediaType, value)
  }
  await ask(front, `PUT ${path}/latest`, { body })
  t.is(front.registry.pushes.at(-1)?.mediaType, undefined)
})

test('manifests: a subject is confirmed', async (t) => {
  await using front = await start()
  front.registry.subject = digestOf('subject')
  const answer = await ask(front, `PUT ${path}/latest`, pushed)
  t.is(headerOf(answer, 'oci-subject'), digestOf('subject'))
})

test('manifests: a push by digest may set many tags, each confirmed in a line of its own', async (t) => {
  await using front = await start()
  const tags = Array.from({ length: 100 }, (_, at) => `v${at}`)
  const query = tags.map((tag) => `tag=${tag}`).join('&')
  const answer = await ask(front, `PUT ${path}/${digest}?${query}&tag=v0`, pushed)
  t.is(answer.status, 201)
  t.deepEqual(answer.headers['oci-tag'], tags)
  t.is(headerOf(answer, 'location'), `${origin}${path}/${digest}`)
  t.is((await ask(front, `GET ${path}/v99`)).body, body)
  const untagged = await ask(front, `PUT ${path}/${digest}`, pushed)
  t.is(headerOf(untagged, 'oci-tag'), undefined)
  t.deepEqual(front.registry.pushes.at(-1)?.tags, [])
})

test('manifests: what was pushed by sha512 is called so when it is pulled so', async (t) => {
  await using front = await start()
  const sha512 = digestOf(body, 'sha512')
  const put = await ask(front, `PUT ${path}/${sha512}`, pushed)
  t.is(headerOf(put, 'docker-content-digest'), sha512)
  const got = await ask(front, `GET ${path}/${sha512}`)
  t.is(headerOf(got, 'docker-content-digest'), sha512)
})

for (const [what, target, status, code] of [
  ['with more tags than there may be', `${digest}?${manyTags(101)}`, 414, 'TOO_MANY_TAGS'],
  ['with a tag that is none', `${digest}?tag=a&tag=not/a/tag`, 400, 'TAG_INVALID'],
  ['with an empty tag', `${digest}?tag=`, 400, 'TAG_INVALID'],
  ['by a tag with more tags', 'latest?tag=other', 400, 'REQUEST_INVALID'],
  [
    'by a digest that cannot be verified',
    'md5:d41d8cd98f00b204e9800998ecf8427e',
    400,
    'DIGEST_INVALID',
  ],
  ['by a digest that is none', 'sha256:baddigeststring', 400, 'DIGEST_INVALID'],
] as const) {
  test(`manifests: a push ${what} is refused before it is read`, async (t) => {
    await using front = await start()
    const head = `PUT ${path}/${target} HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n`
    const answer = await sendRaw(front.port, head, (text) => text.includes('}]}'))
    t.is(answer.status, status)
    t.is(errorIn(answer).code, code)
    t.is(front.registry.pushes.length, 0)
  })
}

test('manifests: a push to a read-only registry is refused before it is read', async (t) => {
  await using front = await start()
  front.registry.isReadonly = true
  const head = `PUT ${path}/latest HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n`
  const answer = await sendRaw(front.port, head, (text) => text.includes('}]}'))
  t.is(answer.status, 405)
  t.is(errorIn(answer).code, 'UNSUPPORTED')
})

function manyTags(count: number): string {
  return Array.from({ length: count }, (_, at) => `tag=t${at}`).join('&')
}

test('manifests: a client that asks first is told to go on when all else is decided', async (t) => {
  await using front = await start()
  const socket = net.connect(front.port, '127.0.0.1')
  let text = ''
  socket.on('data', (bytes) => {
    text += bytes.toString('latin1')
  })
  socket.write(
    `PUT ${path}/latest HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\nExpect: 100-continue\r\n\r\n`,
  )
  await until(() => text === 'HTTP/1.1 100 Continue\r\n\r\n')
  socket.write(body)
  await until(() => text.includes('201 Created'))
  t.is(front.registry.pushes[0]?.content.toString(), body)
  socket.destroy()
})

test('manifests: a client that has it is told so, by tag until the tag means something else', async (t) => {
  await using front = await start()
  await ask(front, `PUT ${path}/latest`, pushed)
  for (const value of [`"${digest}"`, digest, `W/"${digest}"`, '*']) {
    for (const line of [`GET ${path}/latest`, `HEAD ${path}/latest`, `GET ${path}/${digest}`]) {
      const answer = await ask(front, line, { headers: [`If-None-Match: ${value}`] })
      t.is(answer.status, 304)
      t.is(answer.body, '')
      t.is(headerOf(answer, 'etag'), `"${digest}"`)
      t.is(headerOf(answer, 'docker-content-digest'), digest)
    }
  }
  await ask(front, `PUT ${path}/latest`, { ...pushed, body: `${body} ` })
  const headers = [`If-None-Match: "${digest}"`]
  t.is((await ask(front, `GET ${path}/latest`, { headers })).status, 200)
})

test('manifests: DELETE by tag takes the tag, by digest the manifest', async (t) => {
  await using front = await start()
  await ask(front, `PUT ${path}/latest`, pushed)
  const untagged = await ask(front, `DELETE ${path}/latest`)
  t.is(untagged.status, 202)
  t.is(headerOf(untagged, 'content-length'), '0')
  t.is((await ask(front, `GET ${path}/latest`)).status, 404)
  t.is((await ask(front, `GET ${path}/${digest}`)).status, 200)
  t.is((await ask(front, `DELETE ${path}/${digest}`)).status, 202)
  t.is((await ask(front, `GET ${path}/${digest}`)).status, 404)
})

for (const [mediaType, served] of [
  ['text/html', 'application/octet-stream'],
  ['image/svg+xml', 'application/octet-stream'],
  ['application/xhtml+xml', 'application/octet-stream'],
  ['Application/XML', 'application/octet-stream'],
  ['application/pdf', 'application/octet-stream'],
  ['application/vnd.mozilla.xul+xml', 'application/octet-stream'],
  ['application/vnd.docker.distribution.manifest.v1+prettyjws', undefined],
  ['application/vnd.a.script+json', undefined],
] as const) {
  test(`manifests: one that is stored as ${mediaType} is served as what no browser runs`, async (t) => {
    await using front = await start()
    const content = Buffer.from(body)
    front.registry.revisions.set(`team/app ${digest}`, { digest, mediaType, content })
    const got = await ask(front, `GET ${path}/${digest}`)
    t.is(headerOf(got, 'content-type'), served ?? mediaType)
    t.is(got.body, body)
    t.is(headerOf(got, 'x-content-type-options'), 'nosniff')
  })
}

test('manifests: HEAD is a promise to a pusher', async (t) => {
  await using front = await start()
  await ask(front, `PUT ${path}/latest`, pushed)
  await ask(front, `GET ${path}/${digest}`)
  t.is(front.registry.promises, 0)
  t.is((await ask(front, `HEAD ${path}/${digest}`)).status, 200)
  t.is(front.registry.promises, 1)
})

const other = digestOf('other')
const next = { ...pushed, body: `${body} ` }

for (const condition of [
  `If-Match: "${other}"`,
  `If-Match: W/"${digest}"`,
  `If-None-Match: "${other}", "${digest}"`,
  `If-None-Match: W/"${digest}"`,
  'If-None-Match: *',
]) {
  test(`manifests: a change with ${condition} that is not so is 412 and changes nothing`, async (t) => {
    await using front = await start()
    await ask(front, `PUT ${path}/latest`, pushed)
    const extra = { headers: [...pushed.headers, condition] }
    const put = await ask(front, `PUT ${path}/latest`, { ...extra, body: next.body })
    t.is(put.status, 412)
    t.deepEqual(errorIn(put), {
      code: 'PRECONDITION_FAILED',
      detail: { current: digest },
      ...{ message: 'what is there is not what the request makes its condition' },
    })
    for (const reference of ['latest', digest]) {
      t.is((await ask(front, `DELETE ${path}/${reference}`, extra)).status, 412)
      t.is((await ask(front, `GET ${path}/${reference}`)).body, body)
    }
    t.is(front.registry.pushes.length, 1)
  })
}

test('manifests: a push whose condition is false is refused before it is read', async (t) => {
  await using front = await start()
  const head = `PUT ${path}/latest HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\nIf-Match: *\r\nExpect: 100-continue\r\n\r\n`
  const answer = await sendRaw(front.port, head, (text) => text.includes('}]}'))
  t.is(answer.status, 412)
})

test('manifests: a change whose condition is true is made', async (t) => {
  await using front = await start()
  const put = (condition: string, text: string) =>
    ask(front, `PUT ${path}/latest`, { headers: [...pushed.headers, condition], body: text })
  t.is((await put('If-None-Match: *', body)).status, 201)
  t.is((await put(`If-Match: "${other}", "${digest}"`, next.body)).status, 201)
  t.is((await put('If-Match: *', body)).status, 201)
  t.is((await put(`If-None-Match: "${other}"`, next.body)).status, 201)
  const unquoted = { headers: [`If-Match: ${digestOf(next.body)}`] }
  t.is((await ask(front, `GET ${path}/latest`, unquoted)).status, 200)
  t.is((await ask(front, `DELETE ${path}/latest`, unquoted)).status, 202)
  t.is((await ask(front, `DELETE ${path}/latest`, unquoted)).status, 404)
})

test('manifests: of two pushes that both expect the same tag one is made', async (t) => {
  await using front = await start()
  await ask(front, `PUT ${path}/latest`, pushed)
  const { put } = front.registry.manifests
  front.registry.manifests.put = async (...args) => {
    await new Promise((resolve) => setTimeout(resolve, 50))
    return await put(...args)
  }
  const headers = [...pushed.headers, `If-Match: "${digest}"`]
  const answers = await Promise.all(
    ['  ', '   '].map((more) =>
      ask(front, `PUT ${path}/latest`, { headers, body: `${body}${more}` }),
    ),
  )
  t.deepEqual(answers.map(({ status }) => status).toSorted(), [201, 412])
})

test('manifests: GET of something else than If-Match names is 412', async (t) => {
  await using front = await start()
  await ask(front, `PUT ${path}/latest`, pushed)
  const headers = [`If-Match: "${other}"`]
  t.is((await ask(front, `GET ${path}/latest`, { headers })).status, 412)
})

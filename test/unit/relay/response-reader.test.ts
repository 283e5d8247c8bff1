import test from 'ava'
import fc from 'fast-check'
import { RegistryError } from '../../../src/lib/errors.ts'
import { maxHeadBytes } from '../../../src/relay/response-head.ts'
import { createResponseReader } from '../../../src/relay/response-reader.ts'
import { throwsCode } from './support.ts'

type Result = {
  status?: number
  rawHeaders?: readonly string[]
  body: string
  end?: 'reusable' | 'spent'
  failure?: string
}

/** What one response comes to when its bytes arrive in these reads and the peer then closes. */
function read(reads: readonly Buffer[], method = 'GET', close = true): Result {
  const reader = createResponseReader()
  const result: Result = { body: '' }
  reader.expect(method, {
    onHead({ status, rawHeaders }) {
      Object.assign(result, { status, rawHeaders })
    },
    onPiece(piece) {
      result.body += piece.toString('latin1')
    },
    onEnd(reusable) {
      result.end = reusable ? 'reusable' : 'spent'
    },
  })
  try {
    for (const bytes of reads) reader.read(bytes)
    if (close) reader.end()
  } catch (error) {
    result.failure = error instanceof RegistryError ? error.code : String(error)
  }
  return result
}

const whole = (text: string, method?: string): Result => read([Buffer.from(text, 'latin1')], method)

function split(bytes: Buffer, sizes: readonly number[]): Buffer[] {
  const reads: Buffer[] = []
  for (let at = 0, turn = 0; at < bytes.length; turn += 1) {
    const size = sizes[turn % sizes.length] ?? 1
    reads.push(bytes.subarray(at, at + size))
    at += size
  }
  return reads
}

const ok = 'HTTP/1.1 200 OK\r\n'

for (const [what, text, method] of [
  ['a head that stops', 'HTTP/1.1 200 OK\r\nX: a\r\n', 'GET'],
  ['no answer at all', '', 'GET'],
  ['a sized body that stops', `${ok}Content-Length: 5\r\n\r\nhell`, 'GET'],
  ['a chunked body without its end', `${ok}Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n`, 'GET'],
  ['a chunked body without its blank line', `${ok}Transfer-Encoding: chunked\r\n\r\n0\r\n`, 'GET'],
  ['only an interim answer', 'HTTP/1.1 103 Early Hints\r\n\r\n', 'GET'],
  [
    'a switch of protocols',
    'HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n',
    'GET',
  ],
  ['heads that end in bare LF', 'HTTP/1.1 200 OK\n\n', 'GET'],
  ['a body to HEAD', `${ok}Content-Length: 5\r\n\r\nhello`, 'HEAD'],
  ['a body to 204', 'HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\nhello', 'GET'],
  ['a body to 304', 'HTTP/1.1 304 Not\r\nContent-Length: 5\r\n\r\nhello', 'GET'],
  ['bytes after a sized body', `${ok}Content-Length: 2\r\n\r\nhello`, 'GET'],
  ['bytes after a length of 0', `${ok}Content-Length: 0\r\n\r\nh`, 'GET'],
  ['a second answer', `${ok}Content-Length: 0\r\n\r\n${ok}Content-Length: 0\r\n\r\n`, 'GET'],
  ['bytes after a chunked body', `${ok}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n!`, 'GET'],
] as const) {
  test(`response reader: ${what} is not a whole answer on a connection worth keeping`, (t) => {
    const result = whole(text, method)
    t.is(result.failure, 'UPSTREAM_INVALID')
    t.not(result.end, 'reusable')
  })
}

for (const [what, text, expected, method] of [
  ['HEAD', `${ok}Content-Length: 5\r\n\r\n`, { status: 200, body: '', end: 'reusable' }, 'HEAD'],
  ['204', 'HTTP/1.1 204 No\r\n\r\n', { status: 204, body: '', end: 'reusable' }],
  [
    '304',
    'HTTP/1.1 304 Not\r\nContent-Length: 5\r\n\r\n',
    { status: 304, body: '', end: 'reusable' },
  ],
  ['a length of 0', `${ok}Content-Length: 0\r\n\r\n`, { body: '', end: 'reusable' }],
  ['a sized body', `${ok}Content-Length: 5\r\n\r\nhello`, { body: 'hello', end: 'reusable' }],
  [
    'a chunked body',
    `${ok}Transfer-Encoding: chunked\r\n\r\n5;x\r\nhello\r\n0\r\nX: a\r\n\r\n`,
    { body: 'hello', end: 'reusable' },
  ],
  ['a body until the end of the connection', `${ok}\r\nhello`, { body: 'hello', end: 'spent' }],
  ['an empty body until the end', `${ok}\r\n`, { body: '', end: 'spent' }],
  [
    'Connection: close',
    `${ok}Content-Length: 1\r\nConnection: close\r\n\r\nx`,
    { body: 'x', end: 'spent' },
  ],
  ['HTTP/1.0', 'HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx', { body: 'x', end: 'spent' }],
  [
    'an answer after 100',
    `HTTP/1.1 100 Continue\r\n\r\n${ok}Content-Length: 1\r\n\r\nx`,
    { status: 200, body: 'x', end: 'reusable' },
  ],
  [
    'an answer after 103',
    `HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n${ok}Content-Length: 0\r\n\r\n`,
    { status: 200, rawHeaders: ['Content-Length', '0'] },
  ],
  [
    'an answer after several interim ones',
    `${'HTTP/1.1 102 Processing\r\n\r\n'.repeat(5)}${ok}Content-Length: 0\r\n\r\n`,
    { status: 200 },
  ],
] as const) {
  test(`response reader: ${what} is read`, (t) => {
    const result: Record<string, unknown> = { ...whole(text, method) }
    for (const [key, value] of Object.entries(expected)) t.deepEqual(result[key], value, key)
    t.is(result['failure'], undefined)
  })
}

test('response reader: bytes that no request asked for are refused', (t) => {
  throwsCode(t, () => createResponseReader().read(Buffer.from('x')), 'UPSTREAM_INVALID')
})

test('response reader: a second request before the first is answered is a mistake of ours', (t) => {
  const reader = createResponseReader()
  const sink = { onHead() {}, onPiece() {}, onEnd() {} }
  reader.expect('GET', sink)
  t.throws(() => reader.expect('GET', sink), { instanceOf: TypeError })
})

test('response reader: a head beyond its limit is refused before it has ended', (t) => {
  const reads = Array.from({ length: 70 }, () => Buffer.alloc(1024, 'a'))
  const reader = createResponseReader()
  reader.expect('GET', { onHead() {}, onPiece() {}, onEnd() {} })
  reader.read(Buffer.from(`${ok}X: `))
  const readAll = () => {
    for (const bytes of reads) reader.read(bytes)
  }
  throwsCode(t, readAll, 'UPSTREAM_INVALID')
})

test('response reader: the limit of a head does not depend on how its bytes are split', (t) => {
  const start = `${ok}Content-Length: 0\r\nX: `
  for (let length = maxHeadBytes - 6; length <= maxHeadBytes + 6; length += 1) {
    const bytes = Buffer.from(`${start}${'v'.repeat(length - start.length)}\r\n\r\n`)
    const outcomes = [
      [bytes],
      split(bytes, [1000]),
      split(bytes, [maxHeadBytes - 1, 1]),
      split(bytes, [maxHeadBytes, 1]),
      split(bytes, [maxHeadBytes + 2, 1]),
    ].map((reads) => read(reads, 'GET', false).end ?? 'refused')
    t.deepEqual(new Set(outcomes).size, 1, `${length}: ${outcomes.join(' ')}`)
  }
})

const interim = fc.constantFrom(
  '',
  'HTTP/1.1 100 Continue\r\n\r\n',
  'HTTP/1.1 103 E\r\nLink: </a>\r\n\r\n',
)
const framed = fc.oneof(
  fc.string({ maxLength: 60 }).map((s) => `Content-Length: ${Buffer.byteLength(s)}\r\n\r\n${s}`),
  fc
    .array(fc.string({ minLength: 1, maxLength: 20 }), { maxLength: 5 })
    .map((chunks) =>
      [
        'Transfer-Encoding: chunked\r\n\r\n',
        ...chunks.map((c) => `${Buffer.byteLength(c).toString(16)};x\r\n${c}\r\n`),
        '0\r\nT: u\r\n\r\n',
      ].join(''),
    ),
  fc.string({ maxLength: 60 }).map((s) => `X: y\r\n\r\n${s}`),
)

test('response reader: any split of the bytes into reads gives the same result', (t) => {
  fc.assert(
    fc.property(
      fc.record({
        interim,
        framed,
        // Also answers that are broken: cut short, followed by something, or changed in one byte.
        cut: fc.option(fc.nat(200), { nil: undefined }),
        extra: fc.constantFrom('', '', 'x', 'HTTP/1.1 200 OK\r\n\r\n'),
        change: fc.option(
          fc.tuple(fc.nat(200), fc.constantFrom('\n', '\r', '\0', ' ', '0', 'z', ':')),
        ),
        method: fc.constantFrom('GET', 'HEAD', 'PATCH'),
      }),
      fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 10 }),
      ({ interim: before, framed: rest, cut, extra, change, method }, sizes) => {
        const bytes = Buffer.from(`${before}${ok}${rest}${extra}`).subarray(0, cut)
        if (change !== null && change[0] < bytes.length) bytes.write(change[1], change[0], 'latin1')
        const expected = read([bytes], method)
        // The last byte of a message and what follows may come in one read or in two.
        const spent = (result: Result) =>
          result.failure === undefined ? result : { ...result, end: result.end && 'any' }
        t.deepEqual(spent(read(split(bytes, sizes), method)), spent(expected))
        t.deepEqual(spent(read(split(bytes, [1]), method)), spent(expected))
      },
    ),
    { numRuns: 500 },
  )
})

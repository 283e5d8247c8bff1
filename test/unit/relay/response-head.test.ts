import test from 'ava'
import { maxHeadBytes, parseResponseHead } from '../../../src/relay/response-head.ts'
import { throwsCode } from './support.ts'

const ok = 'HTTP/1.1 200 OK'
const head = (...lines: string[]): string => [ok, ...lines].join('\r\n')

for (const [what, text] of [
  ['an empty head', ''],
  ['a status below 100', 'HTTP/1.1 099 Odd'],
  ['a status of 600', 'HTTP/1.1 600 Odd'],
  ['a status of two digits', 'HTTP/1.1 20 OK'],
  ['a status of four digits', 'HTTP/1.1 2000 OK'],
  ['a status with a sign', 'HTTP/1.1 +20 OK'],
  ['HTTP/2.0', 'HTTP/2.0 200 OK'],
  ['HTTP/1.2', 'HTTP/1.2 200 OK'],
  ['HTTP/0.9', 'HTTP/0.9 200 OK'],
  ['lower-case http', 'http/1.1 200 OK'],
  ['another protocol', 'ICY 200 OK'],
  ['two spaces before the status', 'HTTP/1.1  200 OK'],
  ['a tab before the status', 'HTTP/1.1\t200 OK'],
  ['no space before the status', 'HTTP/1.1200 OK'],
  ['a space before the version', ' HTTP/1.1 200 OK'],
  ['a line break before the status line', '\r\nHTTP/1.1 200 OK'],
  ['a NUL in the reason', 'HTTP/1.1 200 O\0K'],
  ['a bare CR in the reason', 'HTTP/1.1 200 O\rK'],
  ['a bare LF in the reason', 'HTTP/1.1 200 OK\nX: y'],
  ['a reason glued to the status', 'HTTP/1.1 200OK'],
  ['a folded line', head('X: a', ' b')],
  ['a line folded with a tab', head('X: a', '\tb')],
  ['a folded first line', head(' X: a')],
  ['a space before the colon', head('X : a')],
  ['a tab before the colon', head('X\t: a')],
  ['a space before Content-Length its colon', head('Content-Length : 1')],
  ['a space in a name', head('X Y: a')],
  ['an empty name', head(': a')],
  ['a line without a colon', head('X')],
  ['a name of bytes outside tokens', head('Xé: a')],
  ['a name with a NUL', head('X\0: a')],
  ['a NUL in a value', head('X: a\0b')],
  ['a bare CR in a value', head('X: a\rb')],
  ['a bare LF in a value', head('X: a\nContent-Length: 5')],
  ['a bare CR at the end of a value', head('X: a\r')],
  ['a DEL in a value', head('X: a\x7fb')],
  ['a vertical tab in a value', head('X: a\x0bb')],
  ['an empty line among the headers', head('', 'X: a')],
  ['two different Content-Lengths', head('Content-Length: 1', 'Content-Length: 2')],
  ['two identical Content-Lengths', head('Content-Length: 1', 'content-length: 1')],
  ['a list of lengths', head('Content-Length: 1, 1')],
  ['an empty Content-Length', head('Content-Length:')],
  ['a negative Content-Length', head('Content-Length: -1')],
  ['a Content-Length with a plus', head('Content-Length: +1')],
  ['a hexadecimal Content-Length', head('Content-Length: 0x10')],
  ['a fractional Content-Length', head('Content-Length: 1.0')],
  ['an exponent as Content-Length', head('Content-Length: 1e3')],
  ['a Content-Length with a space inside', head('Content-Length: 1 2')],
  ['a Content-Length beyond 2^53', head('Content-Length: 9007199254740992')],
  ['a Content-Length of 40 digits', head(`Content-Length: ${'9'.repeat(40)}`)],
  ['length beside chunked', head('Content-Length: 5', 'Transfer-Encoding: chunked')],
  ['chunked beside length', head('Transfer-Encoding: chunked', 'Content-Length: 5')],
  ['two Transfer-Encodings', head('Transfer-Encoding: chunked', 'Transfer-Encoding: chunked')],
  ['chunked twice', head('Transfer-Encoding: chunked, chunked')],
  ['an unknown coding', head('Transfer-Encoding: rot13')],
  ['a coding before chunked', head('Transfer-Encoding: gzip, chunked')],
  ['a coding after chunked', head('Transfer-Encoding: chunked, gzip')],
  ['identity', head('Transfer-Encoding: identity')],
  ['chunked with a parameter', head('Transfer-Encoding: chunked;q=1')],
  ['chunked in quotes', head('Transfer-Encoding: "chunked"')],
  ['a name like chunked', head('Transfer-Encoding: xchunked')],
  ['an empty coding', head('Transfer-Encoding:')],
  // Node reads this as a body until the end of the connection.
  ['chunked before a tab', head('Transfer-Encoding: chunked\t')],
  ['chunked after a vertical tab', head('Transfer-Encoding:\x0bchunked')],
] as const) {
  test(`response head: ${what} is refused`, (t) => {
    throwsCode(t, () => parseResponseHead(text, 'GET'), 'UPSTREAM_INVALID')
  })
}

test('response head: framing that contradicts itself is refused for HEAD and 304 too', (t) => {
  for (const method of ['HEAD', 'GET']) {
    const text = 'HTTP/1.1 304 Not Modified\r\nContent-Length: 1\r\nTransfer-Encoding: chunked'
    throwsCode(t, () => parseResponseHead(text, method), 'UPSTREAM_INVALID')
    throwsCode(t, () => parseResponseHead(head('Content-Length: x'), method), 'UPSTREAM_INVALID')
  }
})

for (const [what, line] of [
  ['blanks and a NUL', `X:${' '.repeat(60_000)}\0`],
  ['tabs and blanks and a NUL', `X:${'\t '.repeat(30_000)}\0`],
  ['a value of blanks inside and a NUL', `X: a${' '.repeat(60_000)}\0`],
  ['words and a NUL', `X: ${'a '.repeat(30_000)}\0`],
  ['a long name', 'X'.repeat(60_000)],
] as const) {
  test(`response head: ${what} do not take longer than their length is worth`, (t) => {
    const started = process.threadCpuUsage()
    throwsCode(t, () => parseResponseHead(head(line), 'GET'), 'UPSTREAM_INVALID')
    const { user } = process.threadCpuUsage(started)
    // Quadratic time is five seconds of this; linear time is below a millisecond.
    t.true(user < 1_000_000, `${user} µs of CPU`)
  })
}

for (const [what, text, expected] of [
  ['no reason and no space', 'HTTP/1.1 200', { status: 200, reason: '' }],
  ['an empty reason', 'HTTP/1.1 200 ', { status: 200, reason: '' }],
  ['a reason of several words', 'HTTP/1.1 404 Not  Found', { status: 404, reason: 'Not  Found' }],
  ['a reason with bytes above ASCII', 'HTTP/1.1 200 d\xe9j\xe0', { reason: 'd\xe9j\xe0' }],
  ['an unregistered status', 'HTTP/1.1 599 Odd', { status: 599 }],
  ['blanks around a value', head('X: \t a b\t '), { rawHeaders: ['X', 'a b'] }],
  ['no blank before a value', head('X:a'), { rawHeaders: ['X', 'a'] }],
  ['an empty value', head('X:', 'Y: \t'), { rawHeaders: ['X', '', 'Y', ''] }],
  ['colons in a value', head('X: a:b:c'), { rawHeaders: ['X', 'a:b:c'] }],
  ['bytes above ASCII in a value', head('X: d\xe9j\xe0'), { rawHeaders: ['X', 'd\xe9j\xe0'] }],
  [
    'odd characters of a token',
    head("!#$%&'*+-.^_`|~9: a"),
    { rawHeaders: ["!#$%&'*+-.^_`|~9", 'a'] },
  ],
  ['__proto__ as a name', head('__proto__: a'), { rawHeaders: ['__proto__', 'a'] }],
  [
    'order, spelling and repetition',
    head('b: 1', 'A: 2', 'B: 3'),
    { rawHeaders: ['b', '1', 'A', '2', 'B', '3'] },
  ],
  ['a length', head('content-LENGTH: 007'), { framing: { kind: 'sized', length: 7 } }],
  ['a length in blanks', head('Content-Length:  7 '), { framing: { kind: 'sized', length: 7 } }],
  ['a length of 0', head('Content-Length: 0'), { framing: { kind: 'none' }, keepAlive: true }],
  ['chunked', head('Transfer-Encoding: chunked'), { framing: { kind: 'chunked' } }],
  ['Chunked', head('TRANSFER-ENCODING: ChunKed '), { framing: { kind: 'chunked' } }],
  ['neither', ok, { framing: { kind: 'until-close' }, keepAlive: false }],
  ['204', 'HTTP/1.1 204 No Content', { framing: { kind: 'none' }, keepAlive: true }],
  [
    '304 with a length',
    'HTTP/1.1 304 N\r\nContent-Length: 9',
    { framing: { kind: 'none' }, keepAlive: true },
  ],
  [
    '205 with a length',
    'HTTP/1.1 205 R\r\nContent-Length: 1',
    { framing: { kind: 'sized', length: 1 } },
  ],
  ['Connection: close', head('Content-Length: 1', 'Connection: close'), { keepAlive: false }],
  [
    'Connection: Close in a list',
    head('Content-Length: 1', 'Connection: x,Close ,y'),
    { keepAlive: false },
  ],
  [
    'close in a second Connection',
    head('Content-Length: 1', 'Connection: x', 'Connection: close'),
    { keepAlive: false },
  ],
  [
    'a word like close',
    head('Content-Length: 1', 'Connection: closed, disclose'),
    { keepAlive: true },
  ],
  ['HTTP/1.0', 'HTTP/1.0 200 OK\r\nContent-Length: 1', { keepAlive: false }],
  [
    'HTTP/1.0 with keep-alive',
    'HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive',
    { keepAlive: false },
  ],
] as const) {
  test(`response head: ${what} is understood`, (t) => {
    const parsed: Record<string, unknown> = { ...parseResponseHead(text, 'GET') }
    for (const [key, value] of Object.entries(expected)) t.deepEqual(parsed[key], value, key)
  })
}

test('response head: the answer to HEAD has no body, and its length reaches the client', (t) => {
  for (const line of ['Content-Length: 1234', 'Transfer-Encoding: chunked']) {
    const parsed = parseResponseHead(head(line), 'HEAD')
    t.deepEqual(parsed.framing, { kind: 'none' })
    t.true(parsed.keepAlive)
    t.deepEqual(parsed.rawHeaders, line.split(': '))
  }
})

test('response head: a head of the largest size is parsed', (t) => {
  const value = 'v'.repeat(maxHeadBytes - head('X: ').length)
  t.deepEqual(parseResponseHead(head(`X: ${value}`), 'GET').rawHeaders, ['X', value])
})

import test from 'ava'
import fc from 'fast-check'
import { createChunkedDecoder } from '../../../src/relay/chunked.ts'
import { throwsCode } from './support.ts'

function decode(text: string) {
  const decoder = createChunkedDecoder()
  const pieces: Buffer[] = []
  const bytes = Buffer.from(text, 'latin1')
  const used = decoder.decode(bytes, (piece) => pieces.push(Buffer.from(piece)))
  return { used, done: decoder.done, text: Buffer.concat(pieces).toString('latin1') }
}

for (const [what, text] of [
  ['a bare LF after the size', '1\nx\r\n0\r\n\r\n'],
  ['a bare CR after the size', '1\rx\r\n0\r\n\r\n'],
  ['a bare LF after the content', '1\r\nx\n0\r\n\r\n'],
  ['a bare LF at the very end', '1\r\nx\r\n0\r\n\n'],
  ['a bare LF after the last chunk', '0\n\r\n'],
  ['a chunk longer than its size', '1\r\nxy\r\n0\r\n\r\n'],
  ['a chunk shorter than its size', '3\r\nx\r\n0\r\n\r\n'],
  ['an empty size', '\r\nx\r\n0\r\n\r\n'],
  ['a size of nothing but an extension', ';a\r\n\r\n'],
  ['a negative size', '-1\r\nx\r\n'],
  ['a size with a plus', '+1\r\nx\r\n'],
  ['0x before the size', '0x1\r\nx\r\n'],
  ['a size that is not hexadecimal', 'g\r\nx\r\n'],
  ['a blank before the size', ' 1\r\nx\r\n'],
  ['a blank after the size', '1 \r\nx\r\n'],
  ['a size of 14 digits', '00000000000001\r\nx\r\n'],
  ['a size that overflows', 'ffffffffffffffff1\r\nx\r\n'],
  ['an underscore in a size', '1_0\r\nx\r\n'],
  ['a NUL in an extension', '1;\0\r\nx\r\n'],
  ['a nameless extension', '1;\r\nx\r\n'],
  ['an extension that is not a token', '1;a b\r\nx\r\n'],
  ['an extension with a byte above ASCII', '1;a=\xd0\r\nx\r\n'],
  ['an extension with an open quote', '1;a="b\r\nx\r\n'],
  ['an extension with text after its quotes', '1;a="b"c\r\nx\r\n'],
  ['a bare CR in an extension', '1;a\rb\r\nx\r\n'],
  ['a bare LF in an extension', '1;a\nb\r\nx\r\n'],
  ['an endless extension', `1;${'a'.repeat(5000)}`],
  ['an endless size line', '0'.repeat(5000)],
  ['an endless trailer', `0\r\nX: ${'a'.repeat(5000)}`],
  ['too many trailers', `0\r\n${`X: ${'a'.repeat(1000)}\r\n`.repeat(17)}\r\n`],
] as const) {
  test(`chunked: ${what} is refused`, (t) => {
    throwsCode(t, () => decode(text), 'UPSTREAM_INVALID')
  })
}

// Nobody reads trailers here, but two parsers that disagree about a line may disagree about the next.
for (const [what, trailer] of [
  ['without a colon', 'no colon'],
  ['with a blank before the colon', 'X : a'],
  ['with an empty name', ': a'],
  ['about the length', 'Content-Length: 1'],
  ['about the coding', 'transfer-encoding: chunked'],
  ['that is folded', 'X: a\r\n b'],
  ['with a NUL', 'X: a\0b'],
  ['with a bare CR', 'X: a\rb'],
] as const) {
  test(`chunked: a trailer ${what} is refused`, (t) => {
    throwsCode(t, () => decode(`0\r\n${trailer}\r\n\r\n`), 'UPSTREAM_INVALID')
  })
}

for (const [what, text, content] of [
  ['nothing but the last chunk', '0\r\n\r\n', ''],
  ['a last chunk of several zeros', '000\r\n\r\n', ''],
  [
    'lower- and upper-case sizes',
    'a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n',
    '01234567890123456789',
  ],
  ['leading zeros', '0001\r\nx\r\n0\r\n\r\n', 'x'],
  ['extensions', '1;a\r\nx\r\n1;a=b;c="d e"\r\ny\r\n0;z\r\n\r\n', 'xy'],
  ['trailers', '1\r\nx\r\n0\r\nX: a\r\nY:\r\n\r\n', 'x'],
  ['content that looks like chunks', '7\r\n0\r\n\r\n\r\n\r\n0\r\n\r\n', '0\r\n\r\n\r\n'],
] as const) {
  test(`chunked: ${what} are read`, (t) => {
    t.deepEqual(decode(text), { used: text.length, done: true, text: content })
  })
}

test('chunked: what follows the body is left alone', (t) => {
  const body = '1\r\nx\r\n0\r\n\r\n'
  t.deepEqual(decode(`${body}HTTP/1.1 200 OK`), { used: body.length, done: true, text: 'x' })
  const decoder = createChunkedDecoder()
  decoder.decode(Buffer.from(body), () => {})
  t.is(
    decoder.decode(Buffer.from('more'), () => t.fail()),
    0,
  )
})

test('chunked: a body that stops early is never done', (t) => {
  const body = '5;x=y\r\nhello\r\n0\r\nX: a\r\n\r\n'
  for (let end = 0; end < body.length; end += 1) t.false(decode(body.slice(0, end)).done, `${end}`)
})

test('chunked: however the bytes are split, content and end are the same', (t) => {
  const chunk = fc.record({
    content: fc.uint8Array({ minLength: 1, maxLength: 40 }),
    extension: fc.constantFrom('', ';a', ';a=b', ';a="b c"'),
    upper: fc.boolean(),
  })
  fc.assert(
    fc.property(
      fc.array(chunk, { maxLength: 6 }),
      fc.constantFrom('', 'X: a\r\n', 'X: a\r\nY: b\r\n'),
      fc.constantFrom('', 'leftover', '\r\n'),
      fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1 }),
      (chunks, trailers, leftover, sizes) => {
        const framed = chunks.map(({ content, extension, upper }) => {
          const size = content.length.toString(16)
          const line = `${upper ? size.toUpperCase() : size}${extension}\r\n`
          return Buffer.concat([Buffer.from(line), content, Buffer.from('\r\n')])
        })
        const body = Buffer.concat([...framed, Buffer.from(`0\r\n${trailers}\r\n`)])
        const bytes = Buffer.concat([body, Buffer.from(leftover)])
        const decoder = createChunkedDecoder()
        const content: Buffer[] = []
        let used = 0
        for (let at = 0, turn = 0; at < bytes.length; turn += 1) {
          const read = bytes.subarray(at, at + (sizes[turn % sizes.length] ?? 1))
          used += decoder.decode(read, (piece) => content.push(Buffer.from(piece)))
          at += read.length
        }
        t.true(decoder.done)
        t.is(used, body.length)
        t.deepEqual(Buffer.concat(content), Buffer.concat(chunks.map((c) => c.content)))
      },
    ),
  )
})

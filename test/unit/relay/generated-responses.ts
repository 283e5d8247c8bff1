import fc from 'fast-check'

/** One response as its server writes it: the bytes, and the method that they answer. */
export type GeneratedResponse = { readonly method: string; readonly bytes: Buffer }

const token = fc.constantFrom(
  'X',
  'x-a',
  'Link',
  'ETag',
  'Docker-Content-Digest',
  "!#$%&'*+-.^_`|~9",
)
const value = fc.oneof(
  fc.constantFrom('', 'a', 'a b', ' a\t', '</v2/?n=1>; rel="next"', 'd\xe9j\xe0', '"x,y"', 'a:b'),
  fc.string({ maxLength: 12 }).map((s) => s.replace(/[^\x20-\x7e]/g, '')),
)
const field = fc
  .tuple(token, fc.constantFrom(':', ': ', ':\t'), value)
  .map((parts) => parts.join(''))
const connection = fc.constantFrom(
  ...[
    'Connection: close',
    'Connection: keep-alive',
    'Connection: Keep-Alive, X',
    'connection:Close',
  ],
)
const fields = fc.array(fc.oneof({ weight: 4, arbitrary: field }, connection), { maxLength: 4 })
const statusLine = fc.constantFrom(
  ...[
    'HTTP/1.1 200 OK',
    'HTTP/1.1 200',
    'HTTP/1.1 200 ',
    'HTTP/1.1 201 Created',
    'HTTP/1.0 200 OK',
  ],
  ...['HTTP/1.1 204 No Content', 'HTTP/1.1 304 Not Modified', 'HTTP/1.1 307 T', 'HTTP/1.1 401 U'],
  ...['HTTP/1.1 404 d\xe9j\xe0', 'HTTP/1.1 500 Internal Server Error', 'HTTP/1.1 599 Odd'],
)
const interim = fc.constantFrom(
  ...[
    '',
    '',
    '',
    'HTTP/1.1 100 Continue\r\n\r\n',
    'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n',
  ],
)
const content = fc.string({ maxLength: 40 })
const chunk = fc.tuple(content, fc.constantFrom('', '', ';a', ';a=b', ';a="b c"'), fc.boolean())
const chunkedBody = fc
  .tuple(fc.array(chunk, { maxLength: 4 }), fc.constantFrom('', '', 'T: u\r\n'))
  .map(([chunks, trailers]) => {
    const framed = chunks.map(([text, extension, upper]) => {
      const size = Buffer.byteLength(text).toString(16)
      if (text === '') return ''
      return `${upper ? size.toUpperCase() : size}${extension}\r\n${text}\r\n`
    })
    return `${framed.join('')}0\r\n${trailers}\r\n`
  })
const body = fc.oneof(
  content.map((text) => ({ field: [`Content-Length: ${Buffer.byteLength(text)}`], text })),
  chunkedBody.map((text) => ({ field: ['Transfer-Encoding: chunked'], text })),
  content.map((text) => ({ field: [] as string[], text })),
)

const valid = fc
  .record({ statusLine, before: fields, after: fields, body, interim })
  .map(({ statusLine: first, before, after, body: { field: framing, text }, interim: early }) => {
    const head = [first, ...before, ...framing, ...after].join('\r\n')
    return Buffer.concat([
      Buffer.from(`${early}${head}\r\n\r\n`, 'latin1'),
      Buffer.from(text), // strings of the generator may be any Unicode
    ])
  })

/** What two parsers are known to read in two ways. */
const evil = [
  ...[
    '\r',
    '\n',
    '\r\n',
    '\r\n\r\n',
    '\n\n',
    '\0',
    '\x0b',
    '\x7f',
    '\xa0',
    ' ',
    '\t',
    ':',
    ';',
    ',',
  ],
  ...['0', '1', '-', '+', '0x', 'f', ';a', ';\0', '\r\n ', '\r\n\t', ' :', 'HTTP/2.0', 'HTTP/0.9'],
  ...[
    '\r\nContent-Length: 1',
    '\r\nContent-Length: 01',
    '\r\nContent-Length : 3',
    '\r\nContent-Length: +1',
  ],
  ...[
    '\r\nContent-Length: 1, 1',
    '\r\nContent-Length:',
    '\r\nContent-Length: 0x1',
    '\r\nContent_Length: 1',
  ],
  ...[
    '\r\nTransfer-Encoding: chunked',
    '\r\nTransfer-Encoding: identity',
    '\r\nTransfer-Encoding: gzip',
  ],
  ...['\r\nTransfer-Encoding: gzip, chunked', '\r\nTransfer-Encoding: chunked, identity'],
  ...[
    '\r\nTransfer-Encoding : chunked',
    '\r\nTransfer-Encoding:\x0bchunked',
    '\r\nTransfer-Encoding: xchunked',
  ],
  ...[
    '\r\nTransfer-Encoding:',
    '\r\nConnection: upgrade\r\nUpgrade: x',
    '\r\nTrailer: X',
    '0\r\n\r\n',
  ],
]
type Mutation = { readonly at: number; readonly remove: number; readonly insert: string }
const mutation: fc.Arbitrary<Mutation> = fc.record({
  at: fc.nat(300),
  remove: fc.constantFrom(0, 0, 0, 1, 2, 5),
  insert: fc.oneof(
    { weight: 5, arbitrary: fc.constantFrom(...evil) },
    fc.constant(''),
    fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code)),
  ),
})

/** Puts `insert` over `remove` bytes, most often at the end of a line, where framing is decided. */
function mutate(bytes: Buffer, { at, remove, insert }: Mutation): Buffer {
  const place = at % (bytes.length + 1)
  const lineEnd = bytes.indexOf('\r\n', place)
  const start = at % 3 === 0 || lineEnd === -1 ? place : lineEnd
  return Buffer.concat([
    bytes.subarray(0, start),
    Buffer.from(insert, 'latin1'),
    bytes.subarray(start + remove),
  ])
}

const method = fc.constantFrom('GET', 'GET', 'GET', 'HEAD', 'PATCH')

/** Responses that a well-behaved server could send. */
export const validResponse: fc.Arbitrary<GeneratedResponse> = fc.record({ method, bytes: valid })

/** Responses with one to three places damaged. */
export const damagedResponse: fc.Arbitrary<GeneratedResponse> = fc
  .record({ method, bytes: valid, mutations: fc.array(mutation, { minLength: 1, maxLength: 3 }) })
  .map(({ method: verb, bytes, mutations }) => ({
    method: verb,
    bytes: mutations.reduce(mutate, bytes),
  }))

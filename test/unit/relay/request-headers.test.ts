import test from 'ava'
import fc from 'fast-check'
import { requestFramingOf, requestHeadersFor } from '../../../src/relay/request-headers.ts'
import { throwsCode } from './support.ts'

const facts = {
  host: 'registry.example:8443',
  scheme: 'https',
  clientAddress: '192.0.2.7',
  requestId: 'id-1',
} as const

const told: Readonly<Record<string, string>> = {
  host: facts.host,
  'x-forwarded-proto': 'https',
  'x-forwarded-host': facts.host,
  'x-forwarded-for': facts.clientAddress,
  'x-real-ip': facts.clientAddress,
  'x-request-id': facts.requestId,
}

/** Lower-case name to all its values. */
function grouped(rawHeaders: readonly string[]): Record<string, string[]> {
  const groups: Record<string, string[]> = {}
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const key = rawHeaders[index]?.toLowerCase() ?? ''
    const before = Object.hasOwn(groups, key) ? groups[key] : undefined
    groups[key] = [...(before ?? []), rawHeaders[index + 1] ?? '']
  }
  return groups
}

const forwarded = (rawHeaders: readonly string[], authorization?: string) =>
  grouped(requestHeadersFor(rawHeaders, facts, authorization))

const bare = Object.fromEntries(Object.entries(told).map(([key, value]) => [key, [value]]))

for (const name of [
  ...['Connection', 'Keep-Alive', 'Proxy-Authenticate', 'Proxy-Authorization', 'Proxy-Connection'],
  ...['TE', 'Trailer', 'Transfer-Encoding', 'Upgrade', 'Content-Length', 'Expect', 'Host'],
]) {
  test(`request headers: ${name} stays on this side, in any spelling`, (t) => {
    for (const spelling of [name, name.toLowerCase(), name.toUpperCase()]) {
      t.deepEqual(forwarded([spelling, 'x']), bare)
    }
  })
}

for (const name of [
  ...['Forwarded', 'X-Forwarded-For', 'X-Forwarded-Host', 'X-Forwarded-Port', 'X-Forwarded-Proto'],
  ...[
    'X-Forwarded-Prefix',
    'X-Forwarded-Server',
    'X-Forwarded-Ssl',
    'X-Forwarded-Scheme',
    'X-Forwarded-By',
  ],
  ...[
    'X-Real-IP',
    'X-Request-Id',
    'X-Original-Host',
    'X-Forwarded-Uri',
    'X-Forwarded-Path',
    'X-Forwarded',
  ],
  ...['X-Forwarded-User', 'X-Forwarded-Client-Cert', 'X-Forwarded-For-Original'],
]) {
  test(`request headers: a client's own ${name} never reaches the upstream`, (t) => {
    for (const spelling of [name, name.toLowerCase(), name.toUpperCase()]) {
      t.deepEqual(forwarded([spelling, 'spoofed', spelling, 'twice']), bare)
    }
  })
}

test('request headers: what Connection lists stays here, the rest passes in order and spelling', (t) => {
  const raw = ['B', '1', 'Connection', 'X-One, x-TWO ,,close', 'X-One', 'a', 'x-two', 'b', 'b', '2']
  const [host, name, ...rest] = requestHeadersFor([...raw, 'CONNECTION', 'a'], facts, undefined)
  t.deepEqual([host, name], ['Host', facts.host])
  t.deepEqual(rest.slice(0, 4), ['B', '1', 'b', '2'])
})

test('request headers: Connection cannot make us lose what we say ourselves', (t) => {
  const listed =
    'host, content-length, authorization, x-forwarded-for, x-forwarded-proto, x-real-ip'
  t.deepEqual(forwarded(['Connection', listed, 'Authorization', 'Basic a'], 'Basic fixed'), {
    ...bare,
    authorization: ['Basic fixed'],
  })
})

for (const [what, mode, expected] of [
  ['stripped', undefined, undefined],
  ['passed', 'pass', ['Basic Y2xpZW50']],
  ['replaced', 'Basic Zml4ZWQ=', ['Basic Zml4ZWQ=']],
] as const) {
  test(`request headers: credentials are ${what}`, (t) => {
    const { authorization } = forwarded(['aUTHORIZATION', 'Basic Y2xpZW50'], mode)
    t.deepEqual(authorization, expected)
  })
}

test('request headers: without credentials of the client, fixed ones are still sent', (t) => {
  t.deepEqual(forwarded([], 'Basic Zml4ZWQ=')['authorization'], ['Basic Zml4ZWQ='])
  t.is(forwarded([], 'pass')['authorization'], undefined)
})

test('request headers: __proto__ and constructor are headers like others', (t) => {
  const raw = ['__proto__', 'a', 'constructor', 'b']
  t.deepEqual(requestHeadersFor(raw, facts, undefined).slice(2, 6), raw)
})

test('request headers: whatever a client sends, there is exactly one of each of ours', (t) => {
  const name = fc.oneof(
    fc.constantFrom(...Object.keys(told), 'connection', 'authorization', 'forwarded', 'accept'),
    fc.stringMatching(/^[a-zA-Z0-9-]{1,12}$/),
  )
  const value = fc.oneof(
    fc.constantFrom('spoofed', 'host', 'x-real-ip, authorization'),
    fc.stringMatching(/^[ -~]{0,20}$/),
  )
  const spelling = name.map((text) => text.toUpperCase())
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.oneof(name, spelling), value)), (pairs) => {
      const groups = forwarded(pairs.flat())
      for (const [key, only] of Object.entries(told)) t.deepEqual(groups[key], [only])
      t.is(groups['authorization'], undefined)
    }),
  )
})

for (const [what, headers, expected] of [
  ['none', {}, { kind: 'none' }],
  ['a length', { 'content-length': '12' }, { kind: 'sized', length: 12 }],
  ['a length of 0', { 'content-length': '0' }, { kind: 'sized', length: 0 }],
  ['chunked', { 'transfer-encoding': 'chunked' }, { kind: 'chunked' }],
  ['Chunked', { 'transfer-encoding': 'Chunked' }, { kind: 'chunked' }],
] as const) {
  test(`request framing: ${what} is kept as it came`, (t) => {
    t.deepEqual(requestFramingOf(headers), expected)
  })
}

// RFC 9112 section 6.1: what is not understood is not passed on under another name.
for (const coding of ['gzip, chunked', 'gzip', 'rot13', 'chunked, chunked', 'identity', '']) {
  test(`request framing: Transfer-Encoding ${JSON.stringify(coding)} is refused`, (t) => {
    throwsCode(t, () => requestFramingOf({ 'transfer-encoding': coding }), 'REQUEST_INVALID')
  })
}

import { once } from 'node:events'
import { mkdtempDisposable } from 'node:fs/promises'
import http from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { createOriginReader, type Origin, type OriginRules } from '../../../src/http/origin.ts'
import { RegistryError } from '../../../src/lib/errors.ts'
import { sendRaw, startServer } from './support.ts'

const untrusting: OriginRules = { host: undefined, hosts: [], trustedProxies: [] }
const trusting: OriginRules = {
  ...untrusting,
  trustedProxies: ['127.0.0.0/8', '10.0.0.0/8', '2001:db8::/32'],
}

/** What a real request is read as, or the code of its error. */
async function readRaw(rules: OriginRules, text: string): Promise<Origin | string> {
  const readOrigin = createOriginReader(rules)
  let result: Origin | string = 'no request'
  await using server = await startServer(
    (req, res) => {
      try {
        result = readOrigin(req)
      } catch (error) {
        result = error instanceof RegistryError ? error.code : String(error)
      }
      res.end()
    },
    { requireHostHeader: false },
  )
  await sendRaw(server.port, text)
  return result
}

function read(rules: OriginRules, ...headers: string[]): Promise<Origin | string> {
  return readRaw(rules, ['GET /v2/ HTTP/1.1', ...headers, 'Connection: close', '', ''].join('\r\n'))
}

const peer = '127.0.0.1'
const plain = (authority: string): Origin => ({ scheme: 'http', authority, clientAddress: peer })

for (const [what, headers] of [
  ['an empty Host', ['Host:']],
  ['a Host with a path', ['Host: a/b']],
  ['a Host with a scheme', ['Host: http://a']],
  ['a Host with credentials', ['Host: user@a']],
  ['a Host with a blank', ['Host: a b']],
  ['a list of hosts', ['Host: a,b']],
  ['a Host with an empty port', ['Host: a:']],
  ['a Host with a port of letters', ['Host: a:b']],
  ['a Host with two ports', ['Host: a:1:2']],
  ['a port of six digits', ['Host: a:123456']],
  ['an IPv6 address without brackets', ['Host: ::1']],
  ['an open bracket', ['Host: [::1']],
  ['a zone', ['Host: [fe80::1%25eth0]']],
  ['a backslash', ['Host: a\\b']],
  ['a byte above ASCII', ['Host: \xe9']],
  ['an angle bracket', ['Host: a>b']],
  ['a quote', ['Host: a"b']],
  ['a percent escape', ['Host: a%2eb']],
  ['a dot first', ['Host: .a']],
  ['two Hosts', ['Host: a', 'Host: b']],
  ['the same Host twice', ['Host: a', 'host: a']],
] as const) {
  test(`origin: ${what} is REQUEST_INVALID`, async (t) => {
    t.is(await read(untrusting, ...headers), 'REQUEST_INVALID')
  })
}

test('origin: no Host at all is REQUEST_INVALID', async (t) => {
  t.is(
    await readRaw(untrusting, 'GET /v2/ HTTP/1.1\r\nConnection: close\r\n\r\n'),
    'REQUEST_INVALID',
  )
  t.is(await readRaw(untrusting, 'GET /v2/ HTTP/1.0\r\n\r\n'), 'REQUEST_INVALID')
})

for (const [host, authority] of [
  ['registry.example', 'registry.example'],
  ['registry.example:8443', 'registry.example:8443'],
  ['registry.example:80', 'registry.example'],
  ['registry.example:443', 'registry.example:443'],
  ['REGISTRY.Example:8443', 'registry.example:8443'],
  ['registry.example.:8443', 'registry.example.:8443'],
  ['my_registry:5000', 'my_registry:5000'],
  ['192.0.2.1:5000', '192.0.2.1:5000'],
  ['[2001:db8::1]:5000', '[2001:db8::1]:5000'],
  ['[::1]', '[::1]'],
  ['[::1]:80', '[::1]'],
] as const) {
  test(`origin: Host ${host} is ${authority}`, async (t) => {
    t.deepEqual(await read(untrusting, `Host: ${host}`), plain(authority))
  })
}

test('origin: nothing that an untrusted peer forwards counts', async (t) => {
  const headers = [
    ...[
      'Host: registry.example:8443',
      'X-Forwarded-Proto: https',
      'X-Forwarded-Host: evil.example',
    ],
    ...['X-Forwarded-For: 192.0.2.9', 'X-Real-IP: 192.0.2.9', 'X-Forwarded-Port: 1'],
    'Forwarded: for=192.0.2.9;host=evil.example;proto=https',
  ]
  for (const rules of [
    untrusting,
    { ...untrusting, trustedProxies: ['10.0.0.0/8', '2001:db8::/32'] },
  ]) {
    t.deepEqual(await read(rules, ...headers), plain('registry.example:8443'))
  }
})

for (const [what, headers, expected] of [
  ['nothing', [], { scheme: 'http', authority: 'inner', clientAddress: peer }],
  ['a scheme', ['X-Forwarded-Proto: https'], { scheme: 'https', authority: 'inner' }],
  ['a scheme in capitals', ['X-Forwarded-Proto: HTTPS'], { scheme: 'https' }],
  ['an unknown scheme', ['X-Forwarded-Proto: wss'], { scheme: 'http' }],
  ['a list of schemes', ['X-Forwarded-Proto: https,http'], { scheme: 'https' }],
  ['two schemes', ['X-Forwarded-Proto: https', 'X-Forwarded-Proto: http'], { scheme: 'https' }],
  ['a host', ['X-Forwarded-Host: outer:8443'], { authority: 'outer:8443' }],
  ['a list of hosts', ['X-Forwarded-Host: Outer:8443 , inner'], { authority: 'outer:8443' }],
  [
    'https and the default port',
    ['X-Forwarded-Proto: https', 'X-Forwarded-Host: outer:443'],
    { authority: 'outer' },
  ],
  [
    'https and the Host with its port',
    ['Host: outer:443', 'X-Forwarded-Proto: https'],
    { authority: 'outer' },
  ],
  [
    'a port, which counts for nothing',
    ['X-Forwarded-Port: 9', 'X-Forwarded-Proto: https'],
    { authority: 'inner' },
  ],
  ['a client', ['X-Forwarded-For: 192.0.2.9'], { clientAddress: '192.0.2.9' }],
  [
    'a client behind trusted proxies',
    ['X-Forwarded-For: 192.0.2.9, 10.1.1.1,10.2.2.2'],
    { clientAddress: '192.0.2.9' },
  ],
  [
    'a made-up address before the client',
    ['X-Forwarded-For: 203.0.113.1, 192.0.2.9'],
    { clientAddress: '192.0.2.9' },
  ],
  [
    'made-up proxies before the client',
    ['X-Forwarded-For: 10.9.9.9, 192.0.2.9, 10.1.1.1'],
    { clientAddress: '192.0.2.9' },
  ],
  ['trusted proxies only', ['X-Forwarded-For: 10.3.3.3, 10.1.1.1'], { clientAddress: '10.3.3.3' }],
  [
    'something that is no address',
    ['X-Forwarded-For: 192.0.2.9, unknown, 10.1.1.1'],
    { clientAddress: '10.1.1.1' },
  ],
  ['nothing but nonsense', ['X-Forwarded-For: unknown'], { clientAddress: peer }],
  ['empty elements', ['X-Forwarded-For: , 192.0.2.9,,'], { clientAddress: '192.0.2.9' }],
  [
    'several X-Forwarded-For',
    ['X-Forwarded-For: 203.0.113.1', 'X-Forwarded-For: 192.0.2.9'],
    { clientAddress: '192.0.2.9' },
  ],
  ['a client with a port', ['X-Forwarded-For: 192.0.2.9:1234'], { clientAddress: '192.0.2.9' }],
  ['an IPv6 client', ['X-Forwarded-For: 2001:db9::1'], { clientAddress: '2001:db9::1' }],
  [
    'an IPv6 client with a port',
    ['X-Forwarded-For: [2001:db9::1]:1234'],
    { clientAddress: '2001:db9::1' },
  ],
  [
    'a trusted IPv6 proxy',
    ['X-Forwarded-For: 192.0.2.9, 2001:db8::7'],
    { clientAddress: '192.0.2.9' },
  ],
  [
    'IPv4 within IPv6',
    ['X-Forwarded-For: 192.0.2.9, ::ffff:10.1.1.1'],
    { clientAddress: '192.0.2.9' },
  ],
  [
    'IPv4 within IPv6 as the client',
    ['X-Forwarded-For: ::FFFF:192.0.2.9'],
    { clientAddress: '192.0.2.9' },
  ],
  [
    'an address with a zone',
    ['X-Forwarded-For: 192.0.2.9, fe80::1%eth0'],
    { clientAddress: 'fe80::1%eth0' },
  ],
  [
    'Forwarded',
    ['Forwarded: for=192.0.2.9;proto=https;host="outer:8443"'],
    { scheme: 'https', authority: 'outer:8443', clientAddress: '192.0.2.9' },
  ],
  [
    'Forwarded in other letters',
    ['FORWARDED: For="[2001:db9::1]:4711"; Proto=HTTPS ; HOST=Outer'],
    { scheme: 'https', authority: 'outer', clientAddress: '2001:db9::1' },
  ],
  [
    'several Forwarded elements',
    ['Forwarded: for=203.0.113.1;host=a, for=192.0.2.9;host=b', 'Forwarded: for=10.1.1.1'],
    { authority: 'a', clientAddress: '192.0.2.9' },
  ],
  [
    'an obfuscated client',
    ['Forwarded: for=192.0.2.9, for=_hidden, for=10.1.1.1'],
    { clientAddress: '10.1.1.1' },
  ],
  [
    'Forwarded with nothing of use',
    ['Forwarded: by=x;;=;for'],
    { scheme: 'http', authority: 'inner', clientAddress: peer },
  ],
  [
    'X-Forwarded-Proto and a Forwarded of the client',
    ['X-Forwarded-Proto: https', 'Forwarded: for=192.0.2.9;host=evil.example;proto=http'],
    { scheme: 'https', authority: 'inner', clientAddress: peer },
  ],
  [
    'X-Forwarded-For and a Forwarded of the client',
    ['X-Forwarded-For: 192.0.2.9', 'Forwarded: host=evil.example;proto=https'],
    { scheme: 'http', authority: 'inner', clientAddress: '192.0.2.9' },
  ],
] as const) {
  test(`origin: a trusted proxy that forwards ${what} is believed as far as it goes`, async (t) => {
    const host = headers.some((line) => line.startsWith('Host')) ? [] : ['Host: inner']
    const origin = await read(trusting, ...host, ...headers)
    if (typeof origin === 'string') return t.fail(origin)
    const actual: Record<string, unknown> = origin
    for (const [key, value] of Object.entries(expected)) t.is(actual[key], value, key)
  })
}

test('origin: a malformed host is refused from a trusted proxy too', async (t) => {
  t.is(await read(trusting, 'Host: a', 'X-Forwarded-Host: a/b'), 'REQUEST_INVALID')
  t.is(await read(trusting, 'Host: a', 'Forwarded: host="a b"'), 'REQUEST_INVALID')
})

for (const [host, expected] of [
  ['registry.example:8443', plain('registry.example:8443')],
  ['registry.example', 'MISDIRECTED_REQUEST'],
  ['registry.example:8444', 'MISDIRECTED_REQUEST'],
  ['any-port.example:1', plain('any-port.example:1')],
  ['any-port.example', plain('any-port.example')],
  ['evil.example', 'MISDIRECTED_REQUEST'],
  ['x.any-port.example', 'MISDIRECTED_REQUEST'],
  ['any-port.example.evil.example', 'MISDIRECTED_REQUEST'],
  ['[2001:db8::1]:5000', plain('[2001:db8::1]:5000')],
  ['[::1]:5000', plain('[::1]:5000')],
  ['[::1]:5001', 'MISDIRECTED_REQUEST'],
  ['standard.example', plain('standard.example')],
  ['standard.example:80', plain('standard.example')],
  ['standard.example:81', 'MISDIRECTED_REQUEST'],
] as const) {
  test(`origin: with http.hosts, Host ${host} is judged`, async (t) => {
    const hosts = [
      'registry.example:8443',
      'any-port.example',
      '[2001:db8::1]',
      '[::1]:5000',
      'standard.example:80',
    ]
    t.deepEqual(await read({ ...untrusting, hosts }, `Host: ${host}`), expected)
  })
}

test('origin: with http.hosts, what a trusted proxy forwards is judged too', async (t) => {
  const rules = { ...trusting, hosts: ['outer', 'secure.example:443'] }
  t.is(await read(rules, 'Host: outer', 'X-Forwarded-Host: evil.example'), 'MISDIRECTED_REQUEST')
  const origin = await read(
    rules,
    'Host: inner',
    'X-Forwarded-Host: secure.example',
    'X-Forwarded-Proto: https',
  )
  t.deepEqual(origin, { scheme: 'https', authority: 'secure.example', clientAddress: peer })
})

test('origin: http.host beats everything that the request says, except who the client is', async (t) => {
  const host = 'https://Public.Example:443'
  const headers = ['Host: inner', 'X-Forwarded-Host: other', 'X-Forwarded-For: 192.0.2.9']
  t.deepEqual(await read({ ...trusting, host }, ...headers), {
    scheme: 'https',
    authority: 'public.example',
    clientAddress: '192.0.2.9',
  })
  t.is(await read({ ...untrusting, host, hosts: ['inner'] }, 'Host: evil'), 'MISDIRECTED_REQUEST')
})

for (const [what, trustedProxies, clientAddress] of [
  ['is called unknown, and not believed', ['127.0.0.1'], 'unknown'],
  ['is believed if unix is trusted', ['unix'], '192.0.2.9'],
] as const) {
  test(`origin: a peer on a socket file ${what}`, async (t) => {
    await using folder = await mkdtempDisposable(join(tmpdir(), 'tidegate-origin-'))
    const socketPath = join(folder.path, 'front.sock')
    const readOrigin = createOriginReader({ ...untrusting, trustedProxies })
    const server = http.createServer((req, res) => void res.end(readOrigin(req).clientAddress))
    await once(server.listen(socketPath), 'listening')
    const headers = { 'x-forwarded-for': '192.0.2.9' }
    const [res] = await once(http.get({ socketPath, headers, agent: false }), 'response')
    const [body] = await once(res, 'data')
    t.is(String(body), clientAddress)
    server.close()
  })
}

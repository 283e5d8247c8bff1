import test from 'ava'
import fc from 'fast-check'
import { parseCipherSuite } from '../../../src/config/cipher-suites.ts'
import {
  formatListenAddress,
  parseCorsOrigin,
  parseDiskShare,
  parseHeaderValue,
  parseHostValue,
  parseListenAddress,
  parseManifestLimit,
  parseNetwork,
  parsePublicHost,
  parseSizeLimit,
  parseSwitch,
  parseTimeLimit,
  parseTimer,
  parseTokenPath,
  parseUpstreamUrl,
  parseUsername,
} from '../../../src/config/values.ts'

const refuses = test.macro({
  exec(t, parse: (text: string) => unknown, text: string, message?: RegExp) {
    t.throws(() => parse(text), { instanceOf: RangeError, ...(message && { message }) })
  },
  title: (_, parse: (text: string) => unknown, text) =>
    `${parse.name}: ${JSON.stringify(text)} is refused`,
})
const gives = test.macro({
  exec(t, parse: (text: string) => unknown, text: string, value: unknown) {
    t.deepEqual(parse(text), value)
  },
  title: (_, parse: (text: string) => unknown, text, value) =>
    `${parse.name}: ${JSON.stringify(text)} is ${JSON.stringify(value)}`,
})

for (const text of [
  '5000',
  'localhost',
  ':65536',
  '::1:443',
  '[1.2.3.4]:80',
  'a b:1',
  ':-1',
  ':http',
  'unix:5000',
]) {
  test(refuses, parseListenAddress, text)
}
test(gives, parseListenAddress, ':5000', { port: 5000 })
test(gives, parseListenAddress, '0.0.0.0:443', { host: '0.0.0.0', port: 443 })
test(gives, parseListenAddress, '[::1]:443', { host: '::1', port: 443 })
test(gives, parseListenAddress, 'localhost:0', { host: 'localhost', port: 0 })
test(gives, parseListenAddress, 'unix:/run/t.sock', { path: '/run/t.sock' })

test('listen addresses: what is formatted parses to the same address', (t) => {
  const host = fc.oneof(fc.ipV4(), fc.ipV6(), fc.domain())
  fc.assert(
    fc.property(fc.option(host, { nil: undefined }), fc.nat({ max: 65_535 }), (name, port) => {
      const address = name === undefined ? { port } : { host: name, port }
      t.deepEqual(parseListenAddress(formatListenAddress(address)), address)
    }),
  )
})

test(refuses, parsePublicHost, 'registry.example:8443', /needs a scheme/)
test(refuses, parsePublicHost, 'https://registry.example/prefix/', /path/)
test(refuses, parsePublicHost, 'https://registry.example/?', /path/)
test(refuses, parsePublicHost, 'https://user:pw@registry.example')
test(refuses, parsePublicHost, 'https://')
test(gives, parsePublicHost, 'https://Registry.Example:8443/', 'https://registry.example:8443')
test(gives, parsePublicHost, 'https://registry.example:443', 'https://registry.example')

for (const text of [
  'registry:5000',
  'ftp://a',
  'tcp://a:1',
  'http://',
  'http://a:0',
  'http://a/v2/',
  'http://a?x',
  'http://u@a',
  'unix://run/x',
  'unix:/run/x',
]) {
  test(refuses, parseUpstreamUrl, text)
}
test(gives, parseUpstreamUrl, 'http://registry:5000/', 'http://registry:5000')
test(gives, parseUpstreamUrl, 'https://[fd00::1]:8443', 'https://[fd00::1]:8443')
test(gives, parseUpstreamUrl, 'unix:///run/registry.sock', 'unix:///run/registry.sock')

for (const text of ['https://a', 'a/b', 'a:0', 'a:70000', 'a:', '[1.2.3.4]', '::1', 'a b', '*']) {
  test(refuses, parseHostValue, text)
}
test(gives, parseHostValue, 'Registry.Example:8443', 'registry.example:8443')
test(gives, parseHostValue, '[FD00::1]:443', '[fd00::1]:443')

for (const text of [
  'https://ui.example/',
  'https://UI.example',
  'https://ui.example:443',
  'ui.example',
  'null',
  'https://u@a',
  'https://bücher.example',
  '',
]) {
  test(refuses, parseCorsOrigin, text)
}
for (const text of [
  '*',
  'https://ui.example',
  'http://localhost:8080',
  'http://[::1]:8080',
  'app://ui',
]) {
  test(gives, parseCorsOrigin, text, text)
}

for (const text of [
  'localhost',
  '10.0.0.0/33',
  '10.0.0/8',
  'fd00::/129',
  '10.0.0.0/8/8',
  '10.0.0.0/',
  'fe80::1%eth0',
]) {
  test(refuses, parseNetwork, text)
}
for (const text of ['10.0.0.0/8', '192.0.2.1', 'fd00::/8', '::1', 'unix']) {
  test(gives, parseNetwork, text, text)
}

for (const text of ['auth/token', '/auth/token?x', '/a//b', '/a/../b', '/a/%2e', '/', '']) {
  test(refuses, parseTokenPath, text)
}
test(gives, parseTokenPath, '/v2/token', '/v2/token')

test(refuses, parseHeaderValue, 'a\r\nset-cookie: x')
test(
  gives,
  parseHeaderValue,
  'max-age=63072000; includeSubDomains',
  'max-age=63072000; includeSubDomains',
)
test(refuses, parseUsername, 'a:b')
test(refuses, parseSwitch, 'maybe')
test(gives, parseSwitch, 'Yes', true)
test(gives, parseSwitch, 'off', false)
test(refuses, parseSizeLimit, '0', /leave the key out/)
test(refuses, parseDiskShare, '100%', /percentage below 100/)
test(refuses, parseDiskShare, '-1%', /such as 10GiB/)
test(refuses, parseManifestLimit, '1MiB', /expected 4MiB/)
test(refuses, parseManifestLimit, '1GiB', /up to 64MiB/)
test(refuses, parseTimeLimit, '0s')
// A longer timer would fire at once: Node counts them in 31 bits.
test(refuses, parseTimer, '25d')
test(gives, parseTimer, '0', 0)

for (const text of [
  'TLS_RSA_WITH_AES_128_GCM_SHA256',
  'TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA',
  'AES128-SHA',
  'ALL',
  '!aNULL',
  'RC4-SHA:ECDHE-RSA-AES128-GCM-SHA256',
]) {
  test(refuses, parseCipherSuite, text)
}
test(
  gives,
  parseCipherSuite,
  'TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
)
test(gives, parseCipherSuite, 'ECDHE-ECDSA-CHACHA20-POLY1305', 'ECDHE-ECDSA-CHACHA20-POLY1305')
test(gives, parseCipherSuite, 'TLS_AES_128_GCM_SHA256', 'TLS_AES_128_GCM_SHA256')

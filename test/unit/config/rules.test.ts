import { mkdtempDisposable, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import test from 'ava'
import { loadConfig } from '../../../src/config/load.ts'
import { load, problemsOf, UPSTREAM } from './load-text.ts'

const isProblem = test.macro({
  async exec(t, text: string, line: RegExp) {
    const problems = await problemsOf(UPSTREAM + text)
    t.is(problems.length, 1, problems.join('\n'))
    t.regex(problems[0] ?? '', line)
  },
  title: (title = '') => `problem: ${title}`,
})
const isWarning = test.macro({
  async exec(t, text: string, line: RegExp) {
    const { warnings } = await load(UPSTREAM + text)
    t.is(warnings.length, 1, warnings.join('\n'))
    t.regex(warnings[0] ?? '', line)
  },
  title: (title = '') => `warning: ${title}`,
})

test(
  'a certificate without its key',
  isProblem,
  'http: {tls: {certificate: /c}}',
  /2:8: http\.tls\.key: missing/,
)
test(
  'a key without its certificate',
  isProblem,
  'http: {tls: {key: /k}}',
  /http\.tls\.certificate: missing/,
)
test(
  'client certificates verified by no authority',
  isProblem,
  'http: {tls: {certificate: /c, key: /k, clientauth: verify-client-cert-if-given}}',
  /http\.tls\.clientcas: missing/,
)
for (const mode of ['request-client-cert', 'require-any-client-cert']) {
  for (const authorities of ['', ', clientcas: []', ', clientcas: ","']) {
    test(
      `${mode} that no client would be asked for${authorities}`,
      isProblem,
      `http: {tls: {certificate: /c, key: /k, clientauth: ${mode}${authorities}}}`,
      /http\.tls\.clientcas: missing: without authorities no client is asked/,
    )
  }
}
test(
  'a debug server where the main one listens by default',
  isProblem,
  'http: {debug: {addr: 127.0.0.1:5000}}',
  /2:16: http\.debug\.addr: http\.addr listens there already.*value "127\.0\.0\.1:5000"/,
)
test(
  'a debug server at the same address',
  isProblem,
  "http: {addr: 'localhost:1', debug: {addr: 'localhost:1'}}",
  /http\.debug\.addr: http\.addr listens there/,
)
test(
  'a debug server on every interface, the main one on one',
  isProblem,
  "http: {addr: '127.0.0.1:1', debug: {addr: '0.0.0.0:1'}}",
  /http\.debug\.addr: http\.addr listens there/,
)
test(
  'Let’s Encrypt',
  isProblem,
  'http: {tls: {certificate: /c, key: /k, letsencrypt: {email: a@b}}}',
  /http\.tls\.letsencrypt: not in this version: use certificate files/,
)
test(
  'token authentication',
  isProblem,
  'auth: {token: {realm: r, service: s, issuer: i}}',
  /2:8: auth\.token: not in this version, and ignoring it would open the registry/,
)
test('silly authentication', isProblem, 'auth: {silly: }', /auth\.silly: not in this version/)
test(
  'two ways to authenticate',
  isProblem,
  'auth: {none: , htpasswd: {path: /p}}',
  /auth: choose one of none, htpasswd/,
)
test(
  'an htpasswd without a file',
  isProblem,
  'auth: htpasswd',
  /auth\.htpasswd\.path: missing: .*\/auth\/htpasswd/,
)
test(
  'a misspelled way to authenticate',
  isProblem,
  'auth: htpaswd',
  /auth\.htpaswd: unknown key; did you mean auth\.htpasswd\?/,
)
test('an auth that says nothing', isProblem, 'auth: {}', /auth: empty, which would let anyone in/)
test(
  'origin * with credentials',
  isProblem,
  "cors: {origins: ['*'], credentials: yes}",
  /cors\.credentials: true does not go with origin \*/,
)
test(
  'origin * among others with credentials',
  isProblem,
  "cors: {origins: 'https://a, *', credentials: true}",
  /cors\.credentials/,
)
test('cors without origins', isProblem, 'cors: {maxage: 1d}', /cors\.origins: missing/)
test(
  'cors with an empty list of origins',
  isProblem,
  'cors: {origins: []}',
  /cors\.origins: expected at least one/,
)
test(
  'CORS headers beside cors',
  isProblem,
  'cors: {origins: [https://a]}\nhttp: {headers: {Access-Control-Max-Age: [1]}}',
  /3:18: http\.headers\.Access-Control-Max-Age: remove it/,
)
test(
  'a header that frames the message',
  isProblem,
  'http: {headers: {Transfer-Encoding: [chunked]}}',
  /http\.headers\.Transfer-Encoding: .*written by the server/,
)
test(
  'a header name that cannot be sent',
  isProblem,
  'http: {headers: {"X Foo": [a]}}',
  /http\.headers\.X Foo: .*not a valid header name/,
)
test(
  'a header value that cannot be sent',
  isProblem,
  'http: {headers: {X-Foo: "a\\nb"}}',
  /http\.headers\.X-Foo\.0: a header value has only/,
)
test(
  'a header in two cases',
  isProblem,
  'http: {headers: {X-Foo: [a], x-foo: [b]}}',
  /http\.headers\.x-foo: .*twice/,
)
test(
  'a socket without a path',
  isProblem,
  'http: {net: unix}',
  /http\.addr: missing: with http\.net unix/,
)
test(
  'a socket at a port',
  isProblem,
  "http: {net: unix, addr: ':5000'}",
  /http\.addr: expected the path of a socket/,
)
test(
  'a key in the wrong section',
  isProblem,
  'http: {level: debug}',
  /http\.level: unknown key \(value "debug"\); did you mean log\.level\?/,
)
test(
  'a mistyped key of a section that has no effect',
  isProblem,
  'catalog: {maxentrys: 5}',
  /catalog\.maxentrys: unknown key .*did you mean catalog\.maxentries\?/,
)
test(
  'a key like no other',
  isProblem,
  'log: {zzzzzzzzz: 1}',
  /log\.zzzzzzzzz: unknown key.*; known here: level, formatter/,
)
test(
  'a list for a switch',
  isProblem,
  'http: {relativeurls: [true]}',
  /http\.relativeurls: expected true \| false/,
)

test('upstream: the problems of its keys name their remedies', async (t) => {
  const problems = await problemsOf(
    'upstream: {url: registry:5000, authorization: {username: a}, tls: {certificate: /c}}',
  )
  t.regex(problems.join('\n'), /upstream\.tls\.key: missing/)
  t.regex(problems.join('\n'), /upstream\.url: expected http:\/\/host:port/)
  t.regex(
    problems.join('\n'),
    /upstream\.authorization\.passwordfile: missing: .*a file that holds/,
  )
  t.notRegex(problems.join('\n'), /expected strip, pass/)
  const [text] = await problemsOf('upstream: http://registry:5000')
  t.regex(text ?? '', /upstream: expected a section with keys such as url/)
})

test(
  'CORS headers without cors',
  isWarning,
  'http: {headers: {Access-Control-Allow-Origin: [https://a]}}',
  /http\.headers\.Access-Control-Allow-Origin: .*cors:/,
)
test(
  'a TLS section that is empty',
  isWarning,
  'http: {tls: {certificate: , key: ""}}',
  /http\.tls: empty: plain HTTP/,
)
test(
  'suites that TLS 1.3 does not use',
  isWarning,
  'http: {tls: {certificate: /c, key: /k, minimumtls: tls1.3, ciphersuites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]}}',
  /http\.tls\.ciphersuites: no effect/,
)
test(
  'storage beside an upstream',
  isWarning,
  'storage: {filesystem: {rootdirectory: /x}, delete: {enabled: true}}',
  /2:1: storage: no effect: Tidegate stores nothing itself, .*upstream\.url/,
)
test(
  'relative URLs beside a fixed one',
  isWarning,
  'http: {host: https://a, relativeurls: yes}',
  /http\.relativeurls: no effect beside http\.host/,
)
test(
  'a secret that signs nothing',
  isWarning,
  'http: {secret: hunter2}',
  /2:8: http\.secret: no effect: (?!.*hunter2)/,
)
test(
  'the deprecated loglevel',
  isWarning,
  'loglevel: debug',
  /loglevel: deprecated: use log\.level/,
)
test(
  'HTTP/2 settings',
  isWarning,
  'http: {http2: {disabled: true}}',
  /http\.http2: no effect: HTTP\/1\.1/,
)

const upstream = (keys: string) => `upstream: {url: http://registry:5000, ${keys}}\n`

test('upstream.tokenpaths: a warning where they have no effect', async (t) => {
  const paths = 'tokenpaths: [/token]'
  const { warnings } = await load(upstream(paths))
  t.regex(
    warnings.join('\n'),
    /^[^\n]*upstream\.tokenpaths: no effect without `authorization: pass`/,
  )
  const own = await load(`${upstream(`${paths}, authorization: pass`)}auth: {htpasswd: {path: /p}}`)
  t.regex(own.warnings.join('\n'), /^[^\n]*upstream\.tokenpaths: no effect beside auth\.htpasswd/)
  t.deepEqual((await load(upstream(`${paths}, authorization: pass`))).warnings, [])
  const defaults = 'tokenpaths: "/auth/token, /service/token, /v2/token"'
  t.deepEqual((await load(upstream(defaults))).warnings, [])
})

test('metrics: off unless enabled, and never where health is', async (t) => {
  const debug = (rest: string) => `http: {debug: {addr: ':1'${rest}}}`
  const of = async (rest: string) => (await load(debug(rest))).config.http.debug?.prometheus
  t.deepEqual(await of(''), { enabled: false, path: '/metrics' })
  t.deepEqual(await of(', prometheus: {enabled: true, path: /m}'), { enabled: true, path: '/m' })
  for (const path of ['/healthz', '/readyz', '/debug/health']) {
    const problems = await problemsOf(debug(`, prometheus: {path: ${path}}`))
    t.regex(problems[0] ?? '', /http\.debug\.prometheus\.path: health is asked for there/)
  }
  const [problem] = await problemsOf(debug(', prometheus: {path: metrics}'))
  t.regex(problem ?? '', /expected an absolute path without query or escapes, such as \/metrics/)
})

test('a debug server on another port, address or family is fine', async (t) => {
  for (const [main, debug] of [
    [':5000', ':5001'],
    ['127.0.0.1:1', '127.0.0.2:1'],
    ['0.0.0.0:1', '[::1]:1'],
    [':0', ':0'],
  ]) {
    await t.notThrowsAsync(load(`${UPSTREAM}http: {addr: '${main}', debug: {addr: '${debug}'}}`))
  }
})

const verified = 'http: {tls: {certificate: /c, key: /k, clientcas: /ca'

test('an open registry is warned of, unless that is said or others guard it', async (t) => {
  const warns = async (text: string) => {
    await using directory = await mkdtempDisposable(join(tmpdir(), 'tidegate-config-'))
    const file = join(directory.path, 'config.yml')
    await writeFile(file, text)
    const { warnings } = await loadConfig({ file, env: {} })
    return warnings.some((line) => line.startsWith(`${file}: auth: nobody is asked for a password`))
  }
  t.true(await warns(UPSTREAM))
  t.true(await warns(upstream('authorization: {username: a, passwordfile: /p}')))
  t.true(await warns(`${UPSTREAM}${verified}, clientauth: verify-client-cert-if-given}}`))
  t.true(await warns(`${UPSTREAM}${verified}, clientauth: require-any-client-cert}}`))
  t.false(await warns(`${UPSTREAM}${verified}}}`))
  t.false(await warns(`${UPSTREAM}${verified}, clientauth: Require-And-Verify-Client-Cert}}`))
  t.false(await warns(`${UPSTREAM}auth: none`))
  t.false(await warns(`${UPSTREAM}auth: {htpasswd: {path: /p}}`))
  t.false(await warns(upstream('authorization: pass')))
})

test('a password for the backend belongs into a file', async (t) => {
  const problems = await problemsOf(upstream('authorization: {username: a, password: hunter2}'))
  t.deepEqual(
    problems.map((line) => line.replace(/^config\.yml:[0-9:]+ /, '')),
    [
      'upstream.authorization.password: unknown key; did you mean upstream.authorization.passwordfile?',
      'upstream.authorization.passwordfile: missing: a user for the backend needs username and passwordfile, a file that holds the password',
    ],
  )
})

test('loglevel sets log.level unless that is set', async (t) => {
  t.is((await load(`${UPSTREAM}loglevel: debug`)).config.log.level, 'debug')
  t.is((await load(`${UPSTREAM}loglevel: debug\nlog: {level: warn}`)).config.log.level, 'warn')
  t.is(
    (await load(undefined, { REGISTRY_LOGLEVEL: 'error', REGISTRY_UPSTREAM_URL: 'http://r' }))
      .config.log.level,
    'error',
  )
})

test('cors: credentials are on for exact origins and off for any origin', async (t) => {
  const exact = await load(`${UPSTREAM}cors: {origins: [https://a]}`)
  t.deepEqual(exact.config.cors, { origins: ['https://a'], credentials: true, maxage: 1_728_000 })
  const any = await load(`${UPSTREAM}cors: {origins: '*'}`)
  t.false(any.config.cors?.credentials)
})

test('auth: none is no authentication', async (t) => {
  for (const text of ['auth: none', 'auth: {none: {}}', 'auth:\n  none:']) {
    t.deepEqual((await load(UPSTREAM + text)).config.auth, {})
  }
})

test('registry:2: the configuration of its image loads, with a warning for each section without effect', async (t) => {
  const { config, warnings } = await load(`version: 0.1
log:
  fields:
    service: registry
storage:
  cache:
    blobdescriptor: inmemory
  filesystem:
    rootdirectory: /var/lib/registry
http:
  addr: :5000
  headers:
    X-Content-Type-Options: [nosniff]
health:
  storagedriver:
    enabled: true
    interval: 10s
    threshold: 3
${UPSTREAM}`)
  t.deepEqual(config.http.headers, { 'X-Content-Type-Options': ['nosniff'] })
  t.deepEqual(
    warnings.map((line) => line.split(': ')[1]),
    ['health', 'storage'],
  )
})

const isOwnProblem = test.macro({
  async exec(t, text: string, line: RegExp) {
    const problems = await problemsOf(text)
    t.is(problems.length, 1, problems.join('\n'))
    t.regex(problems[0] ?? '', line)
  },
  title: (title = '') => `problem: ${title}`,
})
test(
  'a pull-through cache, which would be an open registry instead',
  isOwnProblem,
  'proxy: {remoteurl: https://registry-1.docker.io, username: u, password: p}',
  /1:9: proxy\.remoteurl: there is no pull-through cache.*name that in `upstream`/,
)
test(
  'a prefix, under which no client would find the registry',
  isOwnProblem,
  'http: {prefix: /registry/}',
  /1:8: http\.prefix: the API is served at \/v2\/.*remove the key/,
)
test(
  'a storage that there is not, once for all of its keys',
  isOwnProblem,
  'storage: {s3: {bucket: b, region: r, secretkey: s}}',
  /1:11: storage\.s3: not in this version/,
)
test(
  'a prefix beside upstream',
  isWarning,
  'http: {prefix: /r/}',
  /http\.prefix: no effect: [^:]* get 404$/,
)
test('http.prefix: / is the same as none', async (t) => {
  t.deepEqual((await load('http: {prefix: /}')).warnings, [])
  t.deepEqual((await load(`${UPSTREAM}http: {prefix: /}`)).warnings, [])
})
test(
  'a cache beside upstream',
  isWarning,
  'proxy: {remoteurl: https://registry-1.docker.io}',
  /proxy\.remoteurl: no effect: there is no pull-through cache$/,
)

test('log.level: warning, as logrus calls it, is warn', async (t) => {
  t.is((await load('log: {level: Warning}')).config.log.level, 'warn')
  t.is((await load('loglevel: warning')).config.log.level, 'warn')
  t.regex((await problemsOf('log: {level: fatal}'))[0] ?? '', /one of error, warn, info, debug/)
})

test('storage: upkeep may have intervals longer than a timer', async (t) => {
  const { config } = await load(
    'storage: {gc: {interval: 30d, grace: 60d}, maintenance: {uploadpurging: {age: 2400h, interval: 600h}}}',
  )
  const day = 86_400_000
  t.is(config.storage.gc.interval, 30 * day)
  t.is(config.storage.gc.grace, 60 * day)
  t.is(config.storage.maintenance.uploadpurging.age, 100 * day)
  t.is(config.storage.maintenance.uploadpurging.interval, 25 * day)
  t.regex((await problemsOf('storage: {gc: {interval: 0s}}'))[0] ?? '', /longer than 0/)
})

test('storage: a relative folder is one of the working directory, and is shown in full', async (t) => {
  const { config } = await load('storage: {filesystem: {rootdirectory: some/folder}}')
  t.is(config.storage.filesystem.rootdirectory, resolve('some/folder'))
})

import { execFile } from 'node:child_process'
import { mkdtempDisposable, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import test from 'ava'
import { loadConfig } from '../../../src/config/load.ts'
import { load, problemsOf, UPSTREAM } from './load-text.ts'

const refusesFile = test.macro({
  async exec(t, contents: string | Uint8Array, line: RegExp) {
    const problems = await problemsOf(contents)
    t.is(problems.length, 1)
    t.regex(problems[0] ?? '', line)
  },
  title: (title) => `files: ${title} is one line with its position`,
})

test('an empty file', refusesFile, '', /^config\.yml:1:1: .*empty/)
test('a file of comments', refusesFile, '# nothing\n', /^config\.yml:1:1: .*empty/)
test(
  'a bracket never closed',
  refusesFile,
  'log:\n  fields: {a: [1\n',
  /^config\.yml:2:15: not valid YAML: /,
)
test('a text that is not YAML', refusesFile, '- a\nb\n', /^config\.yml:2:1: not valid YAML: /)
test('a file without sections', refusesFile, 'hello\n', /^config\.yml:1:1: expected sections/)
test(
  'a duplicate key',
  refusesFile,
  `${UPSTREAM}http:\n  addr: :1\n  addr: :2\n`,
  /^config\.yml:4:3: duplicate key "addr"/,
)
test(
  'a second document',
  refusesFile,
  `${UPSTREAM}---\nhttp: {}\n`,
  /^config\.yml:\d:\d: a second YAML document/,
)
test(
  'a file that is not UTF-8',
  refusesFile,
  Buffer.from('http:\n  host: caf\xe9\n', 'latin1'),
  /^config\.yml:2:12: not UTF-8/,
)
test(
  'a tab as indentation',
  refusesFile,
  'http:\n\taddr: :1\n',
  /^config\.yml:2:1: not valid YAML: Tabs/,
)
test(
  'an alias without anchor',
  refusesFile,
  `${UPSTREAM}http: {secret: *pa55}\n`,
  /^config\.yml:2:8: .*needs quotes(?!.*pa55)/,
)
test(
  'an unknown tag',
  refusesFile,
  `${UPSTREAM}http: {addr: !port 5}\n`,
  /^config\.yml:2:14: not valid YAML: Unresolved tag/,
)
test(
  'a tree of thousands of brackets',
  refusesFile,
  `http: ${'['.repeat(5000)}`,
  /^config\.yml:1:\d+: .*nested too deeply/,
)
test(
  'an alias bomb',
  refusesFile,
  `a: &a [x,x,x,x,x,x,x,x,x]\n${'bcdefghij'
    .split('')
    .map((name, index) => {
      const alias = `*${'abcdefghij'[index]}`
      return `${name}: &${name} [${Array(9).fill(alias).join(', ')}]\n`
    })
    .join('')}`,
  /^config\.yml:\d+:\d+: .*too large, deep or circular/,
)
test(
  'a merge of something else than a map',
  refusesFile,
  `${UPSTREAM}http: {<<: 5}\n`,
  /^config\.yml:2:8: << merges maps/,
)
test(
  'an alias to itself',
  refusesFile,
  'http: &x {headers: *x}\n',
  /^config\.yml:1:\d+: .*circular/,
)

test('files: a missing file, a directory and an unreadable file are one line each', async (t) => {
  await using directory = await mkdtempDisposable(join(tmpdir(), 'tidegate-config-'))
  const missing = join(directory.path, 'none.yml')
  await t.throwsAsync(loadConfig({ file: missing, env: {} }), {
    message: `configuration file: ${missing} does not exist; check the path, or the mount that should bring it`,
  })
  await t.throwsAsync(loadConfig({ file: directory.path, env: {} }), {
    message: /is a folder, not/,
  })
  const present = join(directory.path, 'config.yml')
  await writeFile(present, UPSTREAM)
  const below = loadConfig({ file: join(present, 'config.yml'), env: {} })
  await t.throwsAsync(below, { message: /does not exist; check the path/ })
  // Reading a process's memory at 0 fails for every user, root included.
  const failing = loadConfig({ file: '/proc/self/mem', env: {} })
  await t.throwsAsync(failing, { message: /cannot be read \(EIO\)$/ })
})

test('files: a file that permissions protect is one line', async (t) => {
  if (process.getuid?.() === 0) {
    t.pass('root reads every file')
    return
  }
  await using directory = await mkdtempDisposable(join(tmpdir(), 'tidegate-config-'))
  const file = join(directory.path, 'config.yml')
  await writeFile(file, UPSTREAM, { mode: 0o000 })
  await t.throwsAsync(loadConfig({ file, env: {} }), {
    message: /cannot be read by the user .*uid/,
  })
})

test('files: what never ends is refused instead of read', async (t) => {
  await using directory = await mkdtempDisposable(join(tmpdir(), 'tidegate-config-'))
  const pipe = join(directory.path, 'pipe')
  await promisify(execFile)('mkfifo', [pipe])
  for (const file of ['/dev/zero', pipe]) {
    await t.throwsAsync(loadConfig({ file, env: {} }), {
      message: `configuration file: ${file} is not a regular file; write the configuration into one`,
    })
  }
})

test('files: a huge file is refused', async (t) => {
  const [problem] = await problemsOf(`# ${'x'.repeat(1024 * 1024)}\n${UPSTREAM}`)
  t.regex(problem ?? '', /larger than 1 MiB/)
})

test('every problem of file and variables is reported at once, with place, key, value and remedy', async (t) => {
  const problems = await problemsOf(
    `version: 0.2
http:
  adr: 0.0.0.0:443
  addr: 443
  draintimeout: 10
  hosts: [a, 'https://b']
  tls:
    certificate: /certs/domain.crt
    minimumtls: tls1.0
certificate: /x
upstream:
  timeouts: fast
`,
    { REGISTRY_HTTP_RELATIVEURLS: 'maybe', REGISTRY_HTP_ADDR: 'x' },
  )
  t.deepEqual(problems.map((line) => line.replace(/ expected .*/, ' expected …')).toSorted(), [
    'REGISTRY_HTP_ADDR: unknown variable; did you mean REGISTRY_HTTP_ADDR?',
    'REGISTRY_HTTP_RELATIVEURLS: http.relativeurls: expected …',
    'config.yml:10:1: certificate: unknown key (value "/x"); did you mean http.tls.certificate?',
    'config.yml:11:1: upstream.url: missing: name the registry to forward to, as in `upstream: {url: http://registry:5000}` or REGISTRY_UPSTREAM_URL=http://registry:5000, or leave out `upstream` to be the registry',
    'config.yml:12:3: upstream.timeouts: expected …',
    'config.yml:1:1: version: expected …',
    'config.yml:3:3: http.adr: unknown key (value "0.0.0.0:443"); did you mean http.addr?',
    'config.yml:4:3: http.addr: expected …',
    'config.yml:5:3: http.draintimeout: a duration needs a unit, as in 30s, 10m or 1h30m (value "10")',
    'config.yml:6:14: http.hosts.1: expected …',
    'config.yml:7:3: http.tls.key: missing: http.tls needs both certificate and key, as PEM files',
    'config.yml:9:5: http.tls.minimumtls: tls1.0 is broken and not offered: use tls1.2 or tls1.3 (value "tls1.0")',
  ])
})

test('secrets: no problem repeats a secret, wherever it stands', async (t) => {
  const problems = await problemsOf(
    `http: {secret: [hunter2], secrt: hunter2, host: 'https://user:hunter2@h'}
redis: {pasword: hunter2}
upstream:
  url: http://user:hunter2/@registry:5000
  authorization: {username: a, password: hunter2}
cors: {origins: ['https://u:hunter2@x'], maxage: 5x}
`,
    {
      REGISTRY_HTTP_SECRETS: 'hunter2',
      REGISTRY_UPSTREAM_AUTHORIZATION_PASSWORD: 'hunter2',
      REGISTRY_CORS: '{hunter2',
    },
  )
  t.true(problems.length >= 8, problems.join('\n'))
  t.notRegex(problems.join('\n'), /hunter2/)
})

test('values: control characters of a value are escaped in its problem', async (t) => {
  const [problem] = await problemsOf(`${UPSTREAM}log: {level: "a\\nb\\e[31m"}\n`)
  t.true(problem?.endsWith('(value "a\\nb\\u001b[31m")'), problem)
})

test('order: the command line wins over variables, and they over the file', async (t) => {
  const env = { REGISTRY_UPSTREAM_URL: 'http://variable', REGISTRY_LOG_LEVEL: 'warn' }
  const overrides = { 'upstream.url': 'http://flag', 'http.addr': undefined, 'cors.origins': ['*'] }
  await using directory = await mkdtempDisposable(join(tmpdir(), 'tidegate-config-'))
  const file = join(directory.path, 'config.yml')
  await writeFile(file, 'http: {addr: :1}\nupstream: {url: http://file}\nlog: {level: error}\n')
  const { config } = await loadConfig({ file, env, overrides })
  t.is(config.upstream?.url, 'http://flag')
  t.is(config.log.level, 'warn')
  t.deepEqual(config.http.addr, { port: 1 })
  t.deepEqual(config.cors?.origins, ['*'])
  const wrong = loadConfig({ env, overrides: { 'upstream.url': 'x' } })
  await t.throwsAsync(wrong, { message: /^command line: upstream\.url: expected/ })
})

test('defaults: without anything Tidegate is a registry on registry:2’s folder', async (t) => {
  const { config, warnings } = await load(undefined)
  t.deepEqual(warnings, [])
  t.is(config.upstream, undefined)
  t.deepEqual(config.storage, {
    filesystem: { rootdirectory: '/var/lib/registry', minfree: { percent: 1 } },
    maxmanifestsize: 4 * 2 ** 20,
    delete: { enabled: false },
    gc: { grace: 3_600_000, untagged: 'keep' },
    maintenance: {
      uploadpurging: { enabled: true, age: 86_400_000, interval: 3_600_000, dryrun: false },
      readonly: { enabled: false },
    },
  })
  t.deepEqual([config.catalog, config.tags], [{ maxentries: 1000 }, { maxtags: 1000 }])
})

test('defaults: a URL is all that an upstream needs', async (t) => {
  const { config, warnings } = await load(UPSTREAM)
  t.deepEqual(warnings, [])
  const { storage: _storage, catalog: _catalog, tags: _tags, ...used } = config
  t.deepEqual(used, {
    version: '0.1',
    workers: 'auto',
    log: { level: 'info', formatter: 'json', fields: {}, accesslog: { disabled: false } },
    http: {
      addr: { port: 5000 },
      hosts: [],
      relativeurls: false,
      headers: {},
      draintimeout: 600_000,
      trustedproxies: [],
      maxconnections: 10_000,
      timeouts: { headers: 20_000, idle: 300_000, keepalive: 75_000 },
    },
    upstream: {
      url: 'http://registry:5000',
      authorization: 'strip',
      tokenpaths: ['/auth/token', '/service/token', '/v2/token'],
      tls: {},
      timeouts: { connect: 5000, response: 900_000 },
    },
    auth: {},
  })
})

test('scalars: text keeps what was written, whatever YAML would make of it', async (t) => {
  const { config } = await load(
    `${UPSTREAM}http: {secret: 012345678901234567890}\nauth: {htpasswd: {realm: no, path: 1e3}}\nlog: {fields: {a: 1, b: "1", c: yes, d: [true]}}\n`,
  )
  t.is(config.http.secret, '012345678901234567890')
  t.deepEqual(config.auth, { htpasswd: { realm: 'no', path: '1e3' } })
  t.deepEqual(config.log.fields, { a: 1, b: '1', c: 'yes', d: [true] })
})

test('YAML: anchors, merge keys, a byte order mark and CRLF are fine', async (t) => {
  const { config } = await load(
    '\ufeffhttp:\r\n  timeouts: &t {idle: 7m, headers: 1s}\r\nupstream:\r\n  url: http://r\r\n  timeouts:\r\n    <<: {response: 1m, connect: 2s}\r\n    response: 9m\r\n',
  )
  t.is(config.http.timeouts.idle, 420_000)
  t.deepEqual(config.upstream?.timeouts, { connect: 2000, response: 540_000 })
})

test('empty keys and sections count as absent', async (t) => {
  const { config } = await load(
    `${UPSTREAM}http:\n  host:\n  secret: ""\n  debug:\n    addr: ~\ncors:\n`,
  )
  t.false('host' in config.http || 'secret' in config.http || 'debug' in config.http)
  t.false('cors' in config)
})

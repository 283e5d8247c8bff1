import test from 'ava'
import fc from 'fast-check'
import { stringify } from 'yaml'
import { variableName } from '../../../src/config/environment.ts'
import { listImplemented } from '../../../src/config/keys.ts'
import { loadConfig } from '../../../src/config/load.ts'
import { load, problemsOf, UPSTREAM } from './load-text.ts'

const base = { REGISTRY_UPSTREAM_URL: 'http://registry:5000' }

const isProblem = test.macro({
  async exec(t, env: Record<string, string>, line: RegExp) {
    const problems = await problemsOf(undefined, { ...base, ...env })
    t.is(problems.length, 1, problems.join('\n'))
    t.regex(problems[0] ?? '', line)
  },
  title: (_, env) => `problem: ${JSON.stringify(env)}`,
})

test(
  isProblem,
  { REGISTRY_HTTP_ADRR: 'secret-value' },
  /^REGISTRY_HTTP_ADRR: unknown variable; did you mean REGISTRY_HTTP_ADDR\?$/,
)
test(isProblem, { REGISTRY_http_addr: ':1' }, /did you mean REGISTRY_HTTP_ADDR\?$/)
test(isProblem, { REGISTRY_PASSWORD: 'x' }, /^REGISTRY_PASSWORD: unknown variable$/)
test(isProblem, { REGISTRY_HTTP__ADDR: ':1' }, /unknown variable/)
test(isProblem, { REGISTRY_HTTP_ADDR_0: ':1' }, /unknown variable/)
test(isProblem, { REGISTRY_HTTP_HOSTS_1: 'a' }, /index 1 leaves a gap: the list has 0 items/)
test(isProblem, { REGISTRY_HTTP_HOSTS_X: 'a' }, /unknown variable/)
test(
  isProblem,
  { REGISTRY_HTTP_HOSTS: '[a' + ', {]' },
  /expected a word or a list such as \[a, b\], in YAML/,
)
test(isProblem, { REGISTRY_HTTP: 'text' }, /^REGISTRY_HTTP: expected a map such as \{key: value\}/)
test(
  isProblem,
  { REGISTRY_HTTP_HEADERS_X_FOO: '[a]' },
  /REGISTRY_HTTP_HEADERS='\{Name: \[value\]\}'/,
)
test(
  isProblem,
  { REGISTRY_HTTP_TRUSTEDPROXIES: '10.0.0.1, proxy.example' },
  /^REGISTRY_HTTP_TRUSTEDPROXIES: http\.trustedproxies\.1: expected .* \(value "proxy\.example"\)$/,
)
test(isProblem, { REGISTRY_AUTH: '' }, /^REGISTRY_AUTH: auth: empty/)
test(isProblem, { REGISTRY_AUTH: 'htpasswd' }, /^REGISTRY_AUTH: auth\.htpasswd\.path: missing/)
test(isProblem, { REGISTRY_AUTH_TOKEN_REALM: 'https://a' }, /auth\.token: not in this version/)
test(
  isProblem,
  { REGISTRY_LOG_LEVEL: 'loud' },
  /^REGISTRY_LOG_LEVEL: log\.level: expected one of .* \(value "loud"\)$/,
)
test(
  isProblem,
  { REGISTRY_CORS_ORIGINS: 'https://a,https://B' },
  /^REGISTRY_CORS_ORIGINS: cors\.origins\.1: browsers send.* \(value "https:\/\/B"\)$/,
)

test('the article’s variables give a full configuration without a file', async (t) => {
  const { config, warnings } = await load(undefined, {
    ...base,
    REGISTRY_HTTP_ADDR: '0.0.0.0:443',
    REGISTRY_HTTP_TLS_CERTIFICATE: '/certs/domain.crt',
    REGISTRY_HTTP_TLS_KEY: '/certs/domain.key',
    REGISTRY_AUTH: 'htpasswd',
    REGISTRY_AUTH_HTPASSWD_REALM: 'Registry Realm',
    REGISTRY_AUTH_HTPASSWD_PATH: '/auth/htpasswd',
  })
  t.deepEqual(warnings, [])
  t.deepEqual(config.http.addr, { host: '0.0.0.0', port: 443 })
  t.deepEqual(config.http.tls, {
    certificate: '/certs/domain.crt',
    key: '/certs/domain.key',
    minimumtls: 'tls1.2',
    ciphersuites: [],
    clientcas: [],
    clientauth: 'require-and-verify-client-cert',
  })
  t.deepEqual(config.auth, { htpasswd: { realm: 'Registry Realm', path: '/auth/htpasswd' } })
})

test('what Docker links and Kubernetes services inject is left alone', async (t) => {
  const { warnings } = await load(undefined, {
    ...base,
    REGISTRY_NAME: '/web/registry',
    REGISTRY_ENV_REGISTRY_HTTP_ADDR: 'x',
    REGISTRY_PORT: 'tcp://10.0.0.1:5000',
    REGISTRY_PORT_5000_TCP: 'tcp://10.0.0.1:5000',
    REGISTRY_PORT_5000_TCP_ADDR: '10.0.0.1',
    REGISTRY_PORT_5000_TCP_PORT: '5000',
    REGISTRY_PORT_5000_TCP_PROTO: 'tcp',
    REGISTRY_1_PORT_5000_TCP: 'tcp://10.0.0.1:5000',
    REGISTRY_SERVICE_HOST: '10.0.0.1',
    REGISTRY_SERVICE_PORT: '5000',
    REGISTRY_SERVICE_PORT_HTTPS: '443',
    REGISTRY_UI_SERVICE_HOST: '10.0.0.2',
    REGISTRY_UI_PORT_80_TCP_ADDR: '10.0.0.2',
    REGISTRY_REDIS_PORT: 'tcp://10.0.0.3:6379',
    REGISTRY_VERSION: '2.8.3',
    registry_http_addr: 'x',
  })
  t.deepEqual(warnings, [])
})

test('strings: text that YAML would make a number, a map or nothing stays text', async (t) => {
  const texts = [
    '12345',
    '0.10',
    'true',
    '0x1F',
    '*x',
    'a: b',
    '[a',
    '#x',
    '!x y',
    '{a}',
    '%x',
    '@x',
  ]
  for (const text of texts) {
    const { config } = await load(undefined, { ...base, REGISTRY_HTTP_SECRET: text })
    t.is(config.http.secret, text)
  }
  const { config } = await load(undefined, { ...base, REGISTRY_HTTP_SECRET: '"quoted # text"' })
  t.is(config.http.secret, 'quoted # text')
})

test('an empty variable takes away what the file says', async (t) => {
  const file = `${UPSTREAM}http: {host: https://a, draintimeout: 1m}`
  const { config } = await load(file, { REGISTRY_HTTP_HOST: '', REGISTRY_HTTP_DRAINTIMEOUT: ' ' })
  t.is(config.http.host, undefined)
  t.is(config.http.draintimeout, 600_000)
})

test('lists: a comma list, a YAML list and single items are the same', async (t) => {
  for (const env of [
    { REGISTRY_HTTP_HOSTS: 'a, b:1' },
    { REGISTRY_HTTP_HOSTS: '[a, "b:1"]' },
    { REGISTRY_HTTP_HOSTS_0: 'a', REGISTRY_HTTP_HOSTS_1: 'b:1' },
    { REGISTRY_HTTP_HOSTS: 'a,c', REGISTRY_HTTP_HOSTS_1: 'b:1' },
  ]) {
    const { config } = await load(undefined, { ...base, ...env })
    t.deepEqual(config.http.hosts, ['a', 'b:1'])
  }
  const { config } = await load(undefined, { ...base, REGISTRY_CORS_ORIGINS: '*' })
  t.deepEqual(config.cors?.origins, ['*'])
})

test('lists: items are set in the order of their numbers', async (t) => {
  const items = Array.from({ length: 12 }, (_, index) => [
    `REGISTRY_HTTP_HOSTS_${index}`,
    `h${index}`,
  ])
  const { config } = await load(undefined, { ...base, ...Object.fromEntries(items.toReversed()) })
  t.deepEqual(
    config.http.hosts,
    Array.from({ length: 12 }, (_, index) => `h${index}`),
  )
})

test('headers: a variable replaces a header of the file in any case, and adds others', async (t) => {
  const file = `${UPSTREAM}http: {headers: {X-Content-Type-Options: [nosniff], X-A: [1]}}`
  const { config } = await load(file, {
    'REGISTRY_HTTP_HEADERS_x-content-type-options': '[foo]',
    'REGISTRY_HTTP_HEADERS_X-A_1': 'two',
    'REGISTRY_HTTP_HEADERS_X-B': 'a, b',
  })
  t.deepEqual(config.http.headers, {
    'X-Content-Type-Options': ['foo'],
    'X-A': ['1', 'two'],
    'X-B': ['a, b'],
  })
})

test('sections: a variable replaces a section before others set its keys', async (t) => {
  const file = `${UPSTREAM}auth: {htpasswd: {realm: Old, path: /old}}\nlog: {fields: {a: 1}}`
  const { config } = await load(file, {
    REGISTRY_AUTH_HTPASSWD_PATH: '/new',
    REGISTRY_AUTH: 'htpasswd',
    REGISTRY_LOG_FIELDS: '{b: 2}',
    REGISTRY_LOG_FIELDS_MY_NAME: '3',
  })
  t.deepEqual(config.auth, { htpasswd: { realm: 'Registry', path: '/new' } })
  t.deepEqual(config.log.fields, { b: 2, my_name: 3 })
  t.deepEqual((await load(file, { REGISTRY_AUTH: 'none' })).config.auth, {})
})

test('registry:2: variables of sections without effect are known, under both spellings', async (t) => {
  const { warnings } = await load(undefined, {
    ...base,
    REGISTRY_STORAGE: 'inmemory',
    REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED: 'true',
    REGISTRY_STORAGE_S3_BUCKET: 'b',
    REGISTRY_NOTIFICATIONS_EVENTCONFIG_INCLUDEREFERENCES: 'true',
    REGISTRY_NOTIFICATIONS_EVENTS_INCLUDEREFERENCES: 'true',
    REGISTRY_NOTIFICATIONS_ENDPOINTS_0_NAME: 'a',
    REGISTRY_HEALTH_HTTPCHECKERS_0_URI: 'http://a',
    REGISTRY_HEALTH_TCP_0_ADDR: 'a:1',
    REGISTRY_LOG_HOOKS_0_MAILOPTIONS_SMTP_ADDR: 'a:25',
    REGISTRY_REDIS_ADDRS_0: 'a:1',
  })
  t.deepEqual(warnings.map((line) => line.split(': ')[1]).toSorted(), [
    'health',
    'log.hooks',
    'notifications',
    'redis',
    'storage',
  ])
})

test('the file is named by REGISTRY_CONFIGURATION_PATH when no argument names it', async (t) => {
  const env = { ...base, REGISTRY_CONFIGURATION_PATH: '/nowhere/config.yml' }
  await t.throwsAsync(loadConfig({ env }), {
    message: /^configuration file: \/nowhere\/config\.yml does not exist/,
  })
})

const samples: Record<string, fc.Arbitrary<unknown>> = {
  'log.level': fc.constantFrom('error', 'warn', 'debug'),
  'log.formatter': fc.constantFrom('text', 'logstash'),
  'log.fields': fc.dictionary(
    fc.stringMatching(/^[a-z]{1,5}$/),
    fc.oneof(fc.integer(), fc.boolean(), fc.stringMatching(/^[a-z0-9:# ]+[a-z]$/)),
  ),
  'log.accesslog.disabled': fc.boolean(),
  'http.addr': fc.nat({ max: 65_535 }).map((port) => `[::1]:${port}`),
  'http.host': fc.domain().map((name) => `https://${name}:8443`),
  'http.hosts': fc.array(fc.domain(), { minLength: 1, maxLength: 4 }),
  'http.relativeurls': fc.boolean(),
  'http.secret': fc.oneof(
    fc.string({ minLength: 1 }),
    fc.stringMatching(/^[0-9]{1,20}$/),
    fc.stringMatching(/^[*&!#%@{}[\],:~0x]{1,4}$/),
  ),
  'http.headers': fc.dictionary(
    fc.stringMatching(/^X-[A-Z]{1,3}$/),
    fc.array(fc.stringMatching(/^[a-z0-9:, ]*[a-z]$/), { minLength: 1 }),
  ),
  'http.draintimeout': fc.nat({ max: 1000 }).map((n) => `${n}s`),
  'http.trustedproxies': fc.array(fc.ipV4(), { minLength: 1 }),
  'http.maxbodysize': fc.integer({ min: 1, max: 1e9 }),
  'http.timeouts.idle': fc.integer({ min: 1, max: 1000 }).map((n) => `${n}m`),
  'storage.filesystem.rootdirectory': fc.constantFrom('/data', '/1e3', '/no'),
  'storage.filesystem.minfree': fc.oneof(
    fc.integer({ min: 0, max: 99 }).map((n) => `${n}%`),
    fc.integer({ min: 0, max: 1e9 }),
  ),
  'storage.gc.untagged': fc.constantFrom('keep', 'delete'),
  'storage.maintenance.uploadpurging.age': fc.integer({ min: 1, max: 100 }).map((n) => `${n}h`),
  'catalog.maxentries': fc.integer({ min: 1, max: 10_000 }),
  'upstream.authorization': fc.oneof(
    fc.constant('pass'),
    fc.constant({ username: '01', passwordfile: '/p' }),
  ),
  'auth.htpasswd': fc.record({
    realm: fc.constantFrom('yes', '1', 'A: b'),
    path: fc.constant('/p'),
  }),
  'cors.origins': fc.array(
    fc.domain().map((name) => `https://${name}`),
    { minLength: 1 },
  ),
}

test('variables mean what the same YAML in a file means', async (t) => {
  const chosen = fc.record(samples, { requiredKeys: [] })
  await fc.assert(
    fc.asyncProperty(chosen, async (values) => {
      const env: Record<string, string> = {}
      const overrides: Record<string, unknown> = {}
      const root: Record<string, unknown> = {}
      for (const [path, value] of Object.entries(values)) {
        env[`REGISTRY_${path.toUpperCase().replaceAll('.', '_')}`] = stringify(value)
        overrides[path] = value
        nest(root, path.split('.'), value)
      }
      const byVariables = await load(undefined, { ...base, ...env })
      const byFile = await load(
        stringify({
          ...root,
          upstream: { url: base.REGISTRY_UPSTREAM_URL, ...(root['upstream'] ?? {}) },
        }),
      )
      t.deepEqual(byVariables.config, byFile.config)
      // Applied over a file that says the same already, nothing changes.
      const again = await load(stringify(root), { ...base, ...env })
      t.deepEqual(again.config, byFile.config)
    }),
    { numRuns: 60 },
  )
})

function nest(root: Record<string, unknown>, [key = '', ...rest]: string[], value: unknown): void {
  if (rest.length === 0) {
    root[key] = value
    return
  }
  const child: Record<string, unknown> = {}
  const existing = root[key]
  Object.assign(child, existing)
  root[key] = child
  nest(child, rest, value)
}

test('any REGISTRY_ variable gives a configuration or a StartupError, never another exception', async (t) => {
  const keys = listImplemented().map(variableName)
  const name = fc.oneof(
    fc.constantFrom(...keys),
    fc
      .tuple(fc.constantFrom(...keys), fc.stringMatching(/^_[A-Za-z0-9_-]{0,6}$/))
      .map((parts) => parts.join('')),
    fc.stringMatching(/^REGISTRY_[A-Za-z0-9_]{0,20}$/),
  )
  const value = fc.oneof(fc.string(), fc.stringMatching(/^[[{}\]:,*&!#%@~a0 \n]{0,8}$/))
  await fc.assert(
    fc.asyncProperty(fc.dictionary(name, value, { maxKeys: 4 }), async (env) => {
      const result = loadConfig({ env: { ...base, ...env, REGISTRY_CONFIGURATION_PATH: '' } })
      await result.then(
        () => t.pass(),
        (error: unknown) =>
          t.is(error instanceof Error ? error.name : '', 'StartupError', String(error)),
      )
    }),
    { numRuns: 500 },
  )
})

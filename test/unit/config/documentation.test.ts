import { readFile } from 'node:fs/promises'
import test from 'ava'
import { parse } from 'yaml'
import { findOutdated } from '../../../scripts/generate-configuration-doc.ts'
import { listImplemented } from '../../../src/config/keys.ts'
import { loadConfig } from '../../../src/config/load.ts'
import { load } from './load-text.ts'

const conf = new URL('../../../conf/', import.meta.url)

test('docs/configuration.md and conf/config.full.yml are what the schema says', async (t) => {
  t.deepEqual(await findOutdated(), [], 'run node scripts/generate-configuration-doc.ts')
})

test('every key says what it means', (t) => {
  const silent = listImplemented().filter(({ doc }) => (doc?.description ?? '') === '')
  t.deepEqual(
    silent.map(({ path }) => path.join('.')),
    [],
  )
})

test('conf/config.yml loads without a warning', async (t) => {
  const { config, warnings } = await loadConfig({
    file: new URL('config.yml', conf).pathname,
    env: {},
  })
  t.deepEqual(warnings, [])
  t.deepEqual(config.http.addr, { host: '0.0.0.0', port: 443 })
  t.is(config.http.tls?.certificate, '/certs/domain.crt')
  t.deepEqual(config.auth.htpasswd, { realm: 'Registry Realm', path: '/auth/htpasswd' })
})

test('conf/config.full.yml loads as the defaults', async (t) => {
  const { config, warnings } = await loadConfig({
    file: new URL('config.full.yml', conf).pathname,
    env: {},
  })
  const defaults = await load(undefined)
  t.is(warnings.length, 1)
  t.regex(warnings[0] ?? '', /auth: nobody is asked for a password/)
  t.deepEqual(config, defaults.config)
})

test('conf/config.full.yml loads with every example switched on', async (t) => {
  const text = await readFile(new URL('config.full.yml', conf), 'utf8')
  const { config } = await load(switchOn(switchOn(switchOn(text))))
  t.deepEqual(config.http.tls?.clientcas, ['/certs/clients.crt'])
  t.true('tls' in config.http && 'debug' in config.http && 'htpasswd' in config.auth)
  t.deepEqual(config.cors?.origins, ['https://ui.example'])
  t.is(config.upstream?.tls.servername, 'registry.internal')
})

for (const [name, isFront] of [
  ['docker-compose.yml', true],
  ['docker-compose.standalone.yml', false],
] as const) {
  test(`${name} configures a registry behind TLS and passwords without a warning`, async (t) => {
    const compose = parse(await readFile(new URL(`../${name}`, conf), 'utf8'))
    const { config, warnings } = await loadConfig({ env: compose.services.tidegate.environment })
    t.deepEqual(warnings, [])
    t.is(config.upstream !== undefined, isFront)
    t.truthy(config.http.tls)
    t.is(config.auth.htpasswd?.path, '/auth/htpasswd')
    const folders = compose.services[isFront ? 'registry' : 'tidegate'].volumes
    t.true(folders.includes(`./data:${config.storage.filesystem.rootdirectory}`))
  })
}

/** Removes one mark from every key that is commented out; descriptions have one space after theirs. */
function switchOn(text: string): string {
  return text.replace(/^( *)#(?= {2}| *#|[a-z]+:)/gm, '$1')
}

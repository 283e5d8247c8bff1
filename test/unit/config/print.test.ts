import test from 'ava'
import { formatConfig } from '../../../src/config/print.ts'
import { load, UPSTREAM } from './load-text.ts'

test('secrets are masked', async (t) => {
  const { config } = await load(`${UPSTREAM}http: {secret: hunter2}`)
  const text = formatConfig(config)
  t.notRegex(text, /hunter2/)
  t.regex(text, /secret: ['"]?\*\*\*/)
})

test('durations and sizes have units', async (t) => {
  const { config } = await load(
    `${UPSTREAM}http: {maxbodysize: 10737418240}\ncors: {origins: [https://a]}`,
  )
  const text = formatConfig(config)
  t.regex(text, /maxbodysize: 10GiB/)
  t.regex(text, /draintimeout: 10m/)
  t.regex(text, /maxage: 20d/)
})

for (const [title, text] of [
  ['nothing but the upstream', UPSTREAM],
  ['nothing at all', 'version: 0.1'],
  [
    'a store',
    'storage: {filesystem: {rootdirectory: /data, minfree: 2.5%}, gc: {interval: 12h, grace: 0}}\ntags: {maxtags: 5}',
  ],
  ['a size of free space', 'storage: {filesystem: {minfree: 10GiB}}'],
  ['a socket', `${UPSTREAM}http: {net: unix, addr: /run/t.sock, debug: {addr: '[::1]:0'}}`],
  ['metrics', "http: {debug: {addr: ':1', prometheus: {enabled: on, path: /m}}}"],
  [
    'everything',
    `${UPSTREAM}  
http:
  tls: {certificate: /c, key: /k, ciphersuites: [TLS_AES_128_GCM_SHA256]}
  headers: {X-A: [yes, '1: 2']}
  host: https://a
  maxbodysize: 1001
  trustedproxies: 10.0.0.0/8
auth: {htpasswd: {realm: "01", path: /p}}
cors: {origins: '*', maxage: 90s}
log: {fields: {a: "1", b: 1, c: [null, true], d: {e: "no"}}}
`,
  ],
] as const) {
  test(`what is printed loads as the same configuration: ${title}`, async (t) => {
    const { config } = await load(text)
    const again = await load(formatConfig(config))
    t.deepEqual(again.config, config)
    t.deepEqual(again.warnings, [])
  })
}

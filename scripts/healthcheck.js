// The image's HEALTHCHECK: exits with 0 when /healthz of the server in this container answers 200.
// Plain JavaScript beside dist, since it reads the configuration with the server's own loader.
import { readFileSync } from 'node:fs'
import http from 'node:http'
import https from 'node:https'
import { parseArgs } from 'node:util'

const { loadConfig } = await import(new URL('../dist/config/load.js', import.meta.url).href)

const { config } = await loadConfig({ env: process.env, ...serverArguments() })
const { addr, tls, debug } = config.http
const scheme = debug === undefined && tls !== undefined ? https : http
scheme
  .get({ ...target(debug?.addr ?? addr), path: '/healthz', rejectUnauthorized: false })
  .on('response', ({ statusCode }) => finish(statusCode === 200, `status ${statusCode}`))
  // An alert is the answer of a living server that asks for a client certificate.
  .on('error', ({ code, message }) => finish(/^ERR_SSL_.*_ALERT_/.test(code ?? ''), message))

/** What the server was started with besides variables: process 1, or what an init as process 1 runs. */
function serverArguments() {
  const words = readFileSync('/proc/1/cmdline', 'utf8').split('\0').slice(0, -1)
  const start = words.indexOf('serve')
  const { values, positionals } = parseArgs({
    args: start < 0 ? [] : words.slice(start + 1),
    options: { addr: { type: 'string' }, upstream: { type: 'string' } },
    allowPositionals: true,
    strict: false,
  })
  const overrides = { 'http.addr': values.addr, 'upstream.url': values.upstream }
  return { ...(positionals[0] !== undefined && { file: positionals[0] }), overrides }
}

function target(address) {
  if ('path' in address) return { socketPath: address.path }
  const everyInterface = { '0.0.0.0': '127.0.0.1', '::': '::1' }
  const { host = '127.0.0.1', port } = address
  return { host: everyInterface[host] ?? host, port }
}

function finish(isHealthy, detail) {
  console.log(isHealthy ? 'healthy' : `unhealthy: ${detail}`)
  process.exit(isHealthy ? 0 : 1)
}

// The image's HEALTHCHECK: exits with 0 when /healthz of the server in this container answers 200.
// Plain JavaScript beside dist, since it reads the configuration with the server's own loader.
import { readFileSync } from 'node:fs'
import http from 'node:http'
import https from 'node:https'
import { parseArgs } from 'node:util'

const { loadConfig } = await import(new URL('../dist/config/load.js', import.meta.url).href)

const { config } = await loadConfig({ env: process.env, ...serverArguments() }).catch((error) =>
  finish(false, error.message),
)
const { addr, tls, debug } = config.http
// Who must show a client certificate and has none is told so by a living server.
const living = tls?.clientcas.length > 0 ? [200, 403] : [200]
const scheme = debug === undefined && tls !== undefined ? https : http
scheme
  .get({ ...target(debug?.addr ?? addr), path: '/healthz', rejectUnauthorized: false })
  .on('response', ({ statusCode }) => finish(living.includes(statusCode), `status ${statusCode}`))
  // An alert is the answer of a living server that asks for a client certificate.
  .on('error', ({ code, message }) => finish(/^ERR_SSL_.*_ALERT_/.test(code ?? ''), message))

/** What the server was started with besides variables: process 1, or what an init as process 1 runs. */
function serverArguments() {
  const words = readFileSync('/proc/1/cmdline', 'utf8').split('\0').slice(0, -1)
  const start = words.findIndex((word) => word === 'serve' || word === 'quickstart')
  const { values, positionals } = parseArgs({
    args: start < 0 ? [] : words.slice(start + 1),
    options: {
      addr: { type: 'string' },
      upstream: { type: 'string' },
      directory: { type: 'string', default: './data' },
    },
    allowPositionals: true,
    strict: false,
  })
  const overrides = { 'http.addr': values.addr, 'upstream.url': values.upstream }
  // quickstart writes its configuration down, for `serve` and for this.
  const file = words[start] === 'quickstart' ? `${values.directory}/config.yml` : positionals[0]
  return { ...(file !== undefined && { file }), overrides }
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

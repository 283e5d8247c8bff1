// `node http-proxy-front.js PORT CERTIFICATE KEY UPSTREAM`: what a front of one's own with the most used
// proxy library of npm looks like.
import { readFileSync } from 'node:fs'
import { Agent } from 'node:http'
import httpProxy from 'http-proxy'

const [port, certificate, key, target] = process.argv.slice(2)
httpProxy
  .createProxyServer({
    target,
    ssl: { cert: readFileSync(certificate), key: readFileSync(key) },
    agent: new Agent({ keepAlive: true }),
    xfwd: true,
  })
  .on('error', (_error, _req, res) => res.destroy())
  .listen(Number(port), '127.0.0.1')

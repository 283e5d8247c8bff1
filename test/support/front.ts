import { X509Certificate } from 'node:crypto'
import { mkdtempDisposable, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { stringify } from 'yaml'
import { startApp } from '../../src/app.ts'
import { loadConfig } from '../../src/config/load.ts'
import { createMetrics } from '../../src/observability/metrics.ts'
import { createAuthority, generateKey, issueServerCertificate } from '../../src/tls/authority.ts'
import { startServerProcess } from './server-process.ts'

export type Front = AsyncDisposable & {
  readonly url: URL
  readonly port: number
  /** PEM of the authority that signed its certificate. */
  readonly ca: string
  /** Every line it logged so far. */
  readonly lines: readonly Record<string, unknown>[]
  stop(): Promise<void>
}

const authorityKey = generateKey()
const ca = createAuthority({ name: 'Test authority', key: authorityKey })
const server = issueServerCertificate(
  { certificate: new X509Certificate(ca), key: authorityKey },
  { names: ['localhost', '127.0.0.1'] },
)
const serverKey = server.key.export({ type: 'pkcs8', format: 'pem' })

/**
 * Set to a number, as `npm run test:workers` does, it makes every front of tests that many worker
 * processes instead of a part of this process.
 */
const workers = process.env['TIDEGATE_TEST_WORKERS']

type Started = Pick<Front, 'url' | 'lines' | 'stop'>

/** A whole Tidegate on a free TLS port, in front of `upstream`, or with its own store. */
export async function startFront(
  upstream: string | undefined,
  overrides: Record<string, unknown> = {},
): Promise<Front> {
  const directory = await mkdtempDisposable(join(tmpdir(), 'tidegate-'))
  const certificate = join(directory.path, 'server.crt')
  const key = join(directory.path, 'server.key')
  await writeFile(certificate, server.certificate)
  await writeFile(key, serverKey)
  const settings = {
    'http.addr': '127.0.0.1:0',
    'http.tls': { certificate, key },
    ...(upstream !== undefined && { 'upstream.url': upstream }),
    ...overrides,
  }
  const start = workers === undefined ? startHere : startProcesses
  const started = await start(settings, directory.path)
  const stop = async (): Promise<void> => {
    await started.stop()
    await directory.remove()
  }
  return { ...started, port: Number(started.url.port), ca, stop, [Symbol.asyncDispose]: stop }
}

async function startHere(settings: Record<string, unknown>): Promise<Started> {
  const { config } = await loadConfig({ env: {}, overrides: settings })
  const lines: Record<string, unknown>[] = []
  const log = pino({ level: 'debug' }, { write: (line) => void lines.push(JSON.parse(line)) })
  const app = await startApp(config, { log, metrics: createMetrics() })
  return { url: new URL(app.url), lines, stop: app.stop }
}

async function startProcesses(settings: Record<string, unknown>, folder: string): Promise<Started> {
  const file = join(folder, 'config.yml')
  const document = nested({ version: '0.1', workers, 'log.level': 'debug', ...settings })
  await writeFile(file, stringify(document))
  const { url, lines, stop } = await startServerProcess(file)
  return { url, lines, stop: async () => void (await stop()) }
}

/** Settings by dotted path as the sections of a configuration file. */
function nested(settings: Record<string, unknown>): Record<string, unknown> {
  const root: Record<string, unknown> = {}
  for (const [path, value] of Object.entries(settings)) {
    if (value === undefined) continue
    const keys = path.split('.')
    const last = keys.pop() ?? ''
    let section = root
    for (const key of keys) {
      section[key] ??= {}
      section = section[key] as Record<string, unknown> // no test sets a key and another below it
    }
    section[last] = value
  }
  return root
}

/** Certificate and key of the test server, for an upstream that speaks TLS too. */
export const serverPair = { cert: server.certificate, key: serverKey, ca }

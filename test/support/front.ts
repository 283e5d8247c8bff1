import { X509Certificate } from 'node:crypto'
import { mkdtempDisposable, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { startApp } from '../../src/app.ts'
import { loadConfig } from '../../src/config/load.ts'
import { createAuthority, generateKey, issueServerCertificate } from '../../src/tls/authority.ts'

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

/** A whole Tidegate in this process, on a free TLS port, in front of `upstream`, or with its own store. */
export async function startFront(
  upstream: string | undefined,
  overrides: Record<string, unknown> = {},
): Promise<Front> {
  const directory = await mkdtempDisposable(join(tmpdir(), 'tidegate-'))
  const certificate = join(directory.path, 'server.crt')
  const key = join(directory.path, 'server.key')
  await writeFile(certificate, server.certificate)
  await writeFile(key, serverKey)
  const { config } = await loadConfig({
    env: {},
    overrides: {
      'http.addr': '127.0.0.1:0',
      'http.tls': { certificate, key },
      'upstream.url': upstream,
      ...overrides,
    },
  })
  const lines: Record<string, unknown>[] = []
  const log = pino({ level: 'debug' }, { write: (line) => void lines.push(JSON.parse(line)) })
  const app = await startApp(config, log)
  const url = new URL(app.url)
  const stop = async (): Promise<void> => {
    await app.stop()
    await directory.remove()
  }
  return { url, port: Number(url.port), ca, lines, stop, [Symbol.asyncDispose]: stop }
}

/** Certificate and key of the test server, for an upstream that speaks TLS too. */
export const serverPair = { cert: server.certificate, key: serverKey, ca }

import { once } from 'node:events'
import http, { type IncomingMessage } from 'node:http'
import net from 'node:net'
import { pino } from 'pino'
import { createAnonymousAuthenticator } from '../../../src/auth/authenticator.ts'
import { createCors } from '../../../src/http/cors.ts'
import { createOriginReader } from '../../../src/http/origin.ts'
import { type Backend, createPipeline, type PipelineParts } from '../../../src/http/pipeline.ts'
import { createMetrics } from '../../../src/observability/metrics.ts'

export type LogLine = Readonly<Record<string, unknown>>

/** A real pino logger whose lines can be read back; `text` is everything it ever wrote. */
export function captureLog() {
  const lines: LogLine[] = []
  let written = ''
  const write = (line: string) => {
    written += line
    lines.push(JSON.parse(line))
  }
  const formatters = { level: (label: string) => ({ level: label }) }
  return { log: pino({ level: 'debug', formatters }, { write }), lines, text: () => written }
}

type Handler = (req: IncomingMessage, res: http.ServerResponse) => void

/** Listens on a free port; disposing cuts off what is left. */
export async function startServer(handler: Handler, options: http.ServerOptions = {}) {
  const server = http.createServer(options, handler)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('not listening')
  return {
    server,
    port: address.port,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

/** The whole pipeline on a real port, with a backend that answers 200 unless told otherwise. */
export async function startPipeline(
  extra: Partial<Omit<PipelineParts, 'log' | 'backend'>> & { handle?: Backend['handle'] } = {},
) {
  const {
    handle = async ({ res, headers }) => void res.writeHead(200, headers()).end('ok'),
    ...parts
  } = extra
  const captured = captureLog()
  const handled: string[] = []
  const onRequest = createPipeline({
    readOrigin: createOriginReader({ host: undefined, hosts: [], trustedProxies: [] }),
    cors: createCors(undefined),
    authenticator: createAnonymousAuthenticator(),
    health: { notReady: async () => undefined },
    headers: [],
    tokenPaths: [],
    maxBodyBytes: undefined,
    isDraining: () => false,
    accessLog: true,
    metrics: createMetrics(),
    ...parts,
    log: captured.log,
    backend: {
      async handle(exchange) {
        handled.push(`${exchange.req.method} ${exchange.req.url}`)
        await handle(exchange)
      },
      probe: async () => {},
    },
  })
  const started = await startServer((req, res) => onRequest(req, res), { requireHostHeader: false })
  started.server.on('checkContinue', (req, res) => onRequest(req, res, true))
  return { ...started, ...captured, handled }
}

export type RawAnswer = {
  readonly status: number
  /** Lower-case name to all its values. */
  readonly headers: Readonly<Record<string, readonly string[]>>
  readonly body: string
  readonly raw: string
}

/** Sends bytes and returns all that comes back until the server closes or `done` says it is enough. */
export async function sendRaw(
  port: number,
  text: string,
  done: (received: string) => boolean = () => false,
): Promise<RawAnswer> {
  const socket = net.connect(port, '127.0.0.1')
  socket.on('error', () => {}) // what arrived before counts
  const { promise, resolve } = Promise.withResolvers<void>()
  let raw = ''
  socket.on('data', (bytes) => {
    raw += bytes.toString('latin1')
    if (done(raw)) resolve()
  })
  socket.on('close', () => resolve())
  socket.write(text, 'latin1')
  await promise
  socket.destroy()
  return parseAnswer(raw)
}

/** One request over a connection of its own. */
export function request(
  { port }: { port: number },
  line: string,
  ...headers: readonly string[]
): Promise<RawAnswer> {
  const host = headers.some((header) => /^host:/i.test(header))
    ? []
    : ['Host: registry.example:8443']
  const head = [`${line} HTTP/1.1`, ...host, ...headers, 'Connection: close', '', ''].join('\r\n')
  return sendRaw(port, head)
}

function parseAnswer(raw: string): RawAnswer {
  const end = raw.indexOf('\r\n\r\n')
  const [first = '', ...lines] = raw.slice(0, end).split('\r\n')
  const headers: Record<string, string[]> = {}
  for (const line of lines) {
    const colon = line.indexOf(':')
    const key = line.slice(0, colon).toLowerCase()
    headers[key] = [...(headers[key] ?? []), line.slice(colon + 1).trim()]
  }
  return { status: Number(first.split(' ')[1]), headers, body: raw.slice(end + 4), raw }
}

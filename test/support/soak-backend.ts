import { once } from 'node:events'
import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import https from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { serverPair } from './front.ts'
import type { Random } from './random.ts'
import { drained } from './soak-client.ts'
import { contentAt, isContentAt } from './soak-content.ts'
import { type Plan, stallMs } from './soak-plan.ts'

export type SoakBackend = {
  readonly url: string
  /** Connections that are open now. */
  readonly connections: number
  /** Requests that Node refused by mistake: its parser, paused while an answer was written, does not
   *  expect the records that TLS still delivers. */
  readonly hiccups: number
  /** What it was sent that nobody can have meant. */
  readonly faults: readonly string[]
  /** Breaks all connections, and listens again a moment later at the same place. */
  restart(): Promise<void>
  stop(): Promise<void>
}

/** A backend that does with each request what its plan says. */
export async function startSoakBackend(
  scheme: 'http' | 'https',
  random: Random,
): Promise<SoakBackend> {
  const faults: string[] = []
  let hiccups = 0
  const sockets = new Set<Socket>()
  const onRequest = (req: IncomingMessage, res: ServerResponse): void => {
    res.on('error', () => {})
    answer(req, res, { random, faults }).catch(() => res.destroy())
  }
  const server =
    scheme === 'http' ? http.createServer(onRequest) : https.createServer(serverPair, onRequest)
  // Longer than the pool keeps them: whatever closes a connection is not this.
  server.keepAliveTimeout = 60_000
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket)).on('error', () => {})
  })
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    if (error.code === 'HPE_PAUSED') hiccups += 1
    else if (/^HPE_(?!INVALID_EOF_STATE)/.test(error.code ?? '')) faults.push(`${error.message}`)
    socket.destroy()
  })
  const listen = async (port: number): Promise<number> => {
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
    return (server.address() as AddressInfo).port // a TCP server that listens has one
  }
  const stop = async (): Promise<void> => {
    const closed = once(server, 'close')
    server.close()
    for (const socket of sockets) socket.destroy()
    await closed
  }
  const port = await listen(0)
  return {
    url: `${scheme}://localhost:${port}`,
    get connections() {
      return sockets.size
    },
    get hiccups() {
      return hiccups
    },
    faults,
    async restart() {
      await stop()
      await delay(random(300))
      await listen(port)
    },
    stop,
  }
}

type Context = { readonly random: Random; readonly faults: string[] }

async function answer(req: IncomingMessage, res: ServerResponse, context: Context): Promise<void> {
  const plan: Plan = JSON.parse(String(req.headers['x-plan']))
  res.setHeader('X-Id', plan.id)
  if (plan.kind === 'upload') await takeUpload(req, res, { plan, ...context })
  else await sendDownload(res, { plan, ...context })
}

async function takeUpload(
  req: IncomingMessage,
  res: ServerResponse,
  { plan: { id, length, backend }, faults }: Context & { plan: Plan },
): Promise<void> {
  let received = 0
  let isActed = backend.what === 'nothing'
  for await (const chunk of req) {
    if (!isContentAt(id, received, chunk)) faults.push(`upload ${id}: wrong near ${received}`)
    received += chunk.length
    if (isActed || received < backend.at) continue
    isActed = true
    if (backend.what === 'abort') req.socket.destroy()
    if (backend.what === 'stall') await delay(stallMs)
    if (backend.what !== 'refuse') continue
    res.writeHead(413, { Connection: 'close' }).end()
    return
  }
  if (received !== length) faults.push(`upload ${id}: ${received} bytes passed for ${length}`)
  res.writeHead(202, { 'Content-Length': 0 }).end()
}

async function sendDownload(
  res: ServerResponse,
  { plan, random }: Context & { plan: Plan },
): Promise<void> {
  const { id, from, length, framing, backend } = plan
  if (framing === 'sized') res.setHeader('Content-Length', length)
  if (framing === 'until-close') res.useChunkedEncodingByDefault = false
  res.writeHead(from === 0 ? 200 : 206)
  const send = async (start: number, end: number): Promise<void> => {
    for (let sent = start; sent < end && !res.destroyed; ) {
      const piece = contentAt(id, from + sent, Math.min(end - sent, 1 + random(300_000)))
      sent += piece.length
      if (!res.write(piece)) await drained(res)
    }
  }
  await send(0, backend.at)
  if (backend.what === 'abort') {
    // Not ended as well: Node would send that if the answer before is still on its way.
    res.destroy()
    return
  }
  if (backend.what === 'stall') await delay(stallMs)
  await send(backend.at, length)
  res.end()
}

import { once } from 'node:events'
import net, { type AddressInfo } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import type { ExecutionContext } from 'ava'
import { type ErrorCode, RegistryError } from '../../../src/lib/errors.ts'
import type { Connection, RequestHead } from '../../../src/relay/connection.ts'
import type { ResponseHead } from '../../../src/relay/response-head.ts'
import type { UpstreamTarget } from '../../../src/relay/upstream-socket.ts'

export type RawServer = AsyncDisposable & {
  readonly port: number
  readonly target: UpstreamTarget
  /** Every connection that was ever made, in order. */
  readonly sockets: readonly net.Socket[]
}

/** A server that speaks bytes: `onSocket` gets each connection. */
export async function startRawServer(
  onSocket: (socket: net.Socket, index: number) => void,
): Promise<RawServer> {
  const sockets: net.Socket[] = []
  const server = net.createServer((socket) => {
    socket.on('error', () => {}) // tests break connections on purpose
    sockets.push(socket)
    onSocket(socket, sockets.length - 1)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo // a TCP server that listens has one
  return {
    port,
    target: { address: { host: '127.0.0.1', port }, tls: undefined },
    sockets,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

/** Answers each request head, found by its blank line, with the next of `answers`, byte for byte. */
export function answerHeads(...answers: readonly string[]): (socket: net.Socket) => void {
  return (socket) => {
    let text = ''
    let next = 0
    socket.on('data', (bytes) => {
      text += bytes.toString('latin1')
      for (let end = text.indexOf('\r\n\r\n'); end !== -1; end = text.indexOf('\r\n\r\n')) {
        text = text.slice(end + 4)
        socket.write(answers[next] ?? answers.at(-1) ?? '', 'latin1')
        next += 1
      }
    })
  }
}

/** Waits, without a fixed sleep, until `condition` holds; fails loudly after `limitMs`. */
export async function until(condition: () => boolean, limitMs = 10_000): Promise<void> {
  const deadline = performance.now() + limitMs
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`never true: ${condition}`)
    await turn()
  }
}

/** A request head with the one header that is always there. */
export function headOf(extra: Partial<RequestHead> = {}): RequestHead {
  return {
    method: 'GET',
    target: '/v2/',
    rawHeaders: ['Host', 'registry.example'],
    framing: { kind: 'none' },
    ...extra,
  }
}

export type Answer = {
  head: ResponseHead | undefined
  readonly body: Buffer[]
  ended: boolean
  error: RegistryError | undefined
  answered: boolean | undefined
  drains: number
  /** Releases of pieces that were withheld. */
  readonly withheld: (() => void)[]
  /** Calls of any kind, in order. */
  readonly calls: string[]
}

/** Sends a head and records everything that comes back; resolves nothing, see `settled`. */
export function exchange(
  connection: Connection,
  head: RequestHead,
  {
    withhold = false,
    onCall = () => {},
  }: { withhold?: boolean; onCall?: (call: string) => void } = {},
): Answer {
  const answer: Answer = {
    head: undefined,
    body: [],
    ended: false,
    error: undefined,
    answered: undefined,
    drains: 0,
    withheld: [],
    calls: [],
  }
  const called = (call: string): void => {
    answer.calls.push(call)
    onCall(call)
  }
  connection.send(head, {
    onHead(received) {
      answer.head = received
      called('head')
    },
    onData(piece, release) {
      answer.body.push(Buffer.from(piece))
      if (withhold) answer.withheld.push(release)
      else release()
      called('data')
    },
    onEnd() {
      answer.ended = true
      called('end')
    },
    onError(error, answered) {
      answer.error = error
      answer.answered = answered
      called('error')
    },
    onDrain() {
      answer.drains += 1
    },
  })
  return answer
}

/** Waits until the exchange has ended, well or badly. */
export async function settled(answer: Answer): Promise<Answer> {
  await until(() => answer.ended || answer.error !== undefined)
  return answer
}

export function bodyOf({ body }: { body: readonly Buffer[] }): Buffer {
  return Buffer.concat(body)
}

/** Asserts that `step` throws a RegistryError of that code. */
export function throwsCode(
  t: ExecutionContext,
  step: () => unknown,
  code: ErrorCode,
  label = '',
): void {
  const error = t.throws(step, { instanceOf: RegistryError }, label)
  t.is(error?.code, code, label)
}

export const idle = { onIdle: () => {}, onClose: () => {} }

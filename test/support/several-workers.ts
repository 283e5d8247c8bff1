import { once } from 'node:events'
import { mkdtempDisposable, readFile, writeFile } from 'node:fs/promises'
import type { IncomingMessage } from 'node:http'
import { Agent, type RequestOptions, request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { TLSSocket } from 'node:tls'
import { serverPair } from './front.ts'
import { killIfThere } from './process-tree.ts'
import { type ServerProcess, startServerProcess } from './server-process.ts'

export type Sending = Omit<RequestOptions, 'agent'> & { readonly body?: Buffer | string }

export type Answer = {
  readonly status: number
  readonly headers: IncomingMessage['headers']
  readonly body: Buffer
  /** Number of the worker that answered, of its log. */
  readonly worker: number
}

/** A connection that stays with one worker. */
export type Client = Disposable & {
  readonly worker: number
  /** The connection itself. */
  readonly socket: TLSSocket
  /** What a later connection resumes with. */
  readonly session: Promise<Buffer>
  /** Sends the head of a request; the caller sends the body and takes the answer. */
  begin(options: Sending): ReturnType<typeof request>
}

export type SeveralWorkers = ServerProcess & {
  /** Folder of its configuration, certificate, passwords and store. */
  readonly folder: string
  readonly configFile: string
  /** Process ids of the workers that are there now. */
  workerPids(): Promise<number[]>
  /** What `/metrics` of the debug address says, added up by name. */
  metric(name: string): Promise<number>
  /** Asks over a connection of its own, and waits for the line in the log. */
  ask(sending: Sending): Promise<Answer>
  /** Clients on as many different workers, each after one request; they try to resume `session`. */
  connect(count: number, session?: Buffer): Promise<Client[]>
}

type Options = {
  readonly workers?: number
  /** Further lines of the configuration, with FOLDER for its folder. */
  readonly config?: string
  /** Further keys of `http`, in the same way. */
  readonly http?: string
  /** What further files hold, by their names in its folder. */
  readonly files?: Readonly<Record<string, string>>
  /** A command line before that of the server. */
  readonly wrapper?: readonly string[]
}

/** Tidegate over TLS as a primary with workers of its own, two unless told otherwise. */
export async function startSeveralWorkers({
  workers = 2,
  config = 'auth: none\nstorage: {filesystem: {rootdirectory: FOLDER/store}}\n',
  http = '',
  files = {},
  wrapper = [],
}: Options = {}): Promise<SeveralWorkers> {
  const directory = await mkdtempDisposable(join(tmpdir(), 'tidegate-'))
  const folder = directory.path
  const configFile = join(folder, 'config.yml')
  await writeFile(join(folder, 'server.crt'), serverPair.cert)
  await writeFile(join(folder, 'server.key'), serverPair.key)
  for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content)
  const tls = 'tls: {certificate: FOLDER/server.crt, key: FOLDER/server.key}'
  const text = `version: 0.1
workers: ${workers}
http: {addr: '127.0.0.1:0', ${tls}, ${http}}
${config}`
  await writeFile(configFile, text.replaceAll('FOLDER', folder))
  const server = await startServerProcess(configFile, wrapper)
  const talk = createTalk(server)
  return {
    ...server,
    folder,
    configFile,
    workerPids: () => childrenOf(server.pid),
    metric: (name) => readMetric(server, name),
    ask: talk.ask,
    connect: talk.connect,
    async [Symbol.asyncDispose]() {
      const pids = await childrenOf(server.pid)
      await server.kill()
      for (const pid of pids) killIfThere(pid)
      await directory.remove()
    },
  }
}

function createTalk(server: ServerProcess): Pick<SeveralWorkers, 'ask' | 'connect'> {
  const begin = (agent: Agent | false, { body: _, ...options }: Sending) =>
    request({
      host: '127.0.0.1',
      servername: 'localhost',
      port: server.port,
      // Some tests replace the certificate.
      rejectUnauthorized: false,
      agent,
      ...options,
    })
  const workerOf = async (id: unknown): Promise<number> => {
    const line = await until(() => server.lines.find(({ requestId }) => requestId === id))
    return Number(line['worker'])
  }
  const ask = async (agent: Agent | false, sending: Sending) => {
    const req = begin(agent, sending)
    const answered = once(req, 'response')
    req.end(sending.body)
    const [res] = (await answered) as [IncomingMessage]
    const { socket } = res
    const body = Buffer.concat(await res.toArray())
    const worker = await workerOf(res.headers['x-request-id'])
    return { status: res.statusCode ?? 0, headers: res.headers, body, worker, socket }
  }
  const connect = async (session: Buffer | undefined): Promise<Client> => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1, maxCachedSessions: 0 })
    const latest = Promise.withResolvers<Buffer>()
    agent.once('keylog', (_, socket: TLSSocket) => socket.once('session', latest.resolve))
    const { worker, socket } = await ask(agent, { path: '/v2/', ...(session && { session }) })
    return {
      worker,
      socket: socket as TLSSocket, // of an https request
      session: latest.promise,
      begin: (options) => begin(agent, options),
      [Symbol.dispose]: () => agent.destroy(),
    }
  }
  return {
    ask: (sending) => ask(false, sending),
    async connect(count, session) {
      const clients = new Map<number, Client>()
      while (clients.size < count) {
        const client = await connect(session)
        if (clients.has(client.worker)) client[Symbol.dispose]()
        else clients.set(client.worker, client)
      }
      return [...clients.values()]
    },
  }
}

async function readMetric({ lines }: ServerProcess, name: string): Promise<number> {
  const debug = lines.find(({ msg }) => msg === 'debug server listening')?.['url']
  const text = await (await fetch(`${debug}/metrics`)).text()
  const samples = text.matchAll(new RegExp(`^${name}(?:\\{.*\\})? ([0-9.e+]+)$`, 'gm'))
  return samples.reduce((sum, [, value]) => sum + Number(value), 0)
}

/** What must be there; as a process id, `undefined` would be our own group's. */
export function present<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('it is missing')
  return value
}

/** What `look` finds, as soon as it finds something. */
export async function until<T>(look: () => T | Promise<T>): Promise<NonNullable<T>> {
  for (;;) {
    const found = await look()
    if (found !== undefined && found !== null && found !== false) return found
    await sleep(20)
  }
}

/** Process ids of the children of a process, in the order of their start. */
export async function childrenOf(pid: number): Promise<number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '')
  return text.split(' ').filter(Boolean).map(Number)
}

import { readFile } from 'node:fs/promises'
import type { Config } from './config/schema.ts'
import type { Backend } from './http/pipeline.ts'
import { describeReadProblem } from './lib/file-problem.ts'
import { gatherProblems, StartupError } from './lib/startup-error.ts'
import { createRelay } from './relay/forward.ts'
import { loadTlsClientOptions } from './tls/client-options.ts'

/** A backend that is ready to answer. Disposing closes what it holds open. */
export type OpenBackend = Disposable & {
  readonly backend: Backend
  /** Starts what it does unasked, from the moment that clients are served. */
  startUpkeep(): AsyncDisposable | undefined
}

/**
 * The backend that forwards to `upstream`. Disposing closes its connections.
 * @throws StartupError for files that cannot be used
 */
export async function openUpstream({ http, upstream }: Config): Promise<OpenBackend> {
  if (upstream === undefined) throw new TypeError('there is no upstream to forward to')
  const url = new URL(upstream.url)
  const isTls = url.protocol === 'https:'
  const [tls, authorization] = await gatherProblems([
    isTls ? loadTlsClientOptions(upstream.tls) : Promise.resolve(undefined),
    upstreamCredentials(upstream.authorization),
  ])
  const hostname = url.hostname.replace(/^\[(.*)\]$/, '$1')
  const port = Number(url.port || (isTls ? 443 : 80))
  const relay = createRelay({
    target: {
      address: url.protocol === 'unix:' ? { path: url.pathname } : { host: hostname, port },
      tls,
    },
    scheme: isTls ? 'https' : 'http',
    authority: url.host || 'localhost',
    authorization,
    relative: http.relativeurls && http.host === undefined,
    maxBodyBytes: http.maxbodysize,
    timeouts: { ...upstream.timeouts, idle: http.timeouts.idle },
  })
  return {
    backend: { handle: relay.forward, probe: relay.probe },
    startUpkeep: () => undefined,
    [Symbol.dispose]: relay.close,
  }
}

async function upstreamCredentials(
  authorization: NonNullable<Config['upstream']>['authorization'],
): Promise<'strip' | 'pass' | { value: string }> {
  if (typeof authorization === 'string') return authorization
  const { username, passwordfile } = authorization
  const problem = (text: string, options?: ErrorOptions) =>
    new StartupError(`upstream.authorization.passwordfile: ${passwordfile} ${text}`, options)
  const text = await readFile(passwordfile, 'utf8').catch((cause: unknown) => {
    throw problem(describeReadProblem(cause), { cause })
  })
  const password = text.replace(/\r?\n$/, '')
  if (password === '') throw problem('is empty; write the password for the backend into it')
  const pair = `${username}:${password}`
  return { value: `Basic ${Buffer.from(pair).toString('base64')}` }
}

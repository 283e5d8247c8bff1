import type { Digest } from '../../lib/digest.ts'
import { RegistryError } from '../../lib/errors.ts'
import { parseRepoName, type RepoName } from '../../lib/names.ts'
import type { Chunk, Uploads } from '../../registry/uploads/uploads.ts'
import type { RoutedExchange } from '../exchange.ts'
import { sendReply } from '../reply.ts'
import { withChunk } from './chunks.ts'
import { parsePushDigest } from './digests.ts'
import {
  type EmbeddedOptions,
  type Endpoint,
  locationOf,
  type RouteOf,
  sendEmpty,
} from './endpoint.ts'
import { parseQuery, type Query } from './query.ts'
import { type Session, sessionHeaders } from './sessions.ts'

const noBytes: Chunk = { source: { fill: async () => 0 } }

/** A blob of a repository, or what is to become one. */
type Target = { readonly name: RepoName; readonly digest: Digest }

/** OCI distribution-spec "Pushing blobs": how a session begins, or a blob arrives in one request. */
export function createUploadsEndpoint(
  uploads: Uploads,
  options: EmbeddedOptions,
): Endpoint<'uploads'> {
  return {
    async POST(exchange, { name }) {
      const query = parseQuery(exchange.req.url ?? '')
      const mount = query.one('mount')
      const whole = query.one('digest')
      if (mount !== undefined) {
        const target = { name, digest: parsePushDigest(mount) }
        if (await isMounted(uploads, target, query)) sendCreated(exchange, target, options)
        else await begin(exchange, name, query)
      } else if (whole !== undefined) {
        const target = { name, digest: parsePushDigest(whole) }
        await receiveWhole(exchange, target)
        sendCreated(exchange, target, options)
      } else {
        await begin(exchange, name, query)
      }
    },
  }

  async function begin(exchange: RoutedExchange, name: RepoName, query: Query): Promise<void> {
    const algorithm = query.one('digest-algorithm')
    const status = await uploads.start(name, algorithm === undefined ? {} : { algorithm })
    sendEmpty(exchange, 202, pairs(sessionHeaders({ name, status }, exchange, options)))
  }

  /** Nobody knows the session, so nothing of it stays after a failure. */
  async function receiveWhole(exchange: RoutedExchange, { name, digest }: Target): Promise<void> {
    const algorithm = digest.slice(0, digest.indexOf(':'))
    await withChunk(exchange, options, async ({ chunk = noBytes, accept }) => {
      const { id } = await uploads.start(name, { algorithm })
      try {
        await uploads.finish(name, id, { digest, chunk }, accept)
      } catch (error) {
        // After a wrong digest it is gone already; and what went wrong first is what counts.
        await uploads.cancel(name, id).catch(() => {})
        throw error
      }
    })
  }
}

/** OCI distribution-spec "Pushing blobs": everything about a session that has begun. */
export function createUploadEndpoint(
  uploads: Uploads,
  options: EmbeddedOptions,
): Endpoint<'upload'> {
  const headersOf = (session: Session, exchange: RoutedExchange): Record<string, string> =>
    sessionHeaders(session, exchange, options)

  const sendStatus = async (exchange: RoutedExchange, route: RouteOf<'upload'>): Promise<void> => {
    const session = { name: route.name, status: await uploads.status(route.name, route.id) }
    const headers = [...exchange.headers(), ...pairs(headersOf(session, exchange))]
    sendReply(exchange, { status: 204, headers })
  }
  /** A chunk out of order is told where the session stands, so that its sender can go on from there. */
  const explained = async (
    error: unknown,
    exchange: RoutedExchange,
    { name, id }: RouteOf<'upload'>,
  ): Promise<unknown> => {
    if (!(error instanceof RegistryError) || error.code !== 'RANGE_INVALID') return error
    const session = { name, status: await uploads.status(name, id) }
    const headers = headersOf(session, exchange)
    return new RegistryError(error.code, error.detail, { cause: error, headers })
  }

  return {
    GET: sendStatus,
    HEAD: sendStatus,
    async PATCH(exchange, route) {
      const { name, id } = route
      const status = await withChunk(exchange, options, ({ chunk = noBytes, accept }) =>
        uploads.append(name, id, chunk, accept),
      ).catch(async (error: unknown) => {
        throw await explained(error, exchange, route)
      })
      sendEmpty(exchange, 202, pairs(headersOf({ name, status }, exchange)))
    },
    async PUT(exchange, route) {
      const { name, id } = route
      const digest = parsePushDigest(parseQuery(exchange.req.url ?? '').one('digest'))
      await withChunk(exchange, options, ({ chunk, accept }) =>
        uploads.finish(name, id, chunk === undefined ? { digest } : { digest, chunk }, accept),
      ).catch(async (error: unknown) => {
        throw await explained(error, exchange, route)
      })
      sendCreated(exchange, { name, digest }, options)
    },
    async DELETE(exchange, { name, id }) {
      await uploads.cancel(name, id)
      const headers = [...exchange.headers(), 'Docker-Upload-UUID', id]
      sendReply(exchange, { status: 204, headers })
    },
  }
}

/** A `from` that names no repository is like one that does not have the blob. */
async function isMounted(
  uploads: Uploads,
  { name, digest }: Target,
  query: Query,
): Promise<boolean> {
  const from = query.one('from')
  if (from === undefined) return await uploads.mount(name, digest, undefined)
  const repository = repositoryIn(from)
  return repository !== undefined && (await uploads.mount(name, digest, repository))
}

function repositoryIn(text: string): RepoName | undefined {
  try {
    return parseRepoName(text)
  } catch {
    return undefined
  }
}

function sendCreated(
  exchange: RoutedExchange,
  { name, digest }: Target,
  options: EmbeddedOptions,
): void {
  sendEmpty(exchange, 201, [
    ...['Location', locationOf(`/v2/${name}/blobs/${digest}`, exchange, options)],
    ...['Docker-Content-Digest', digest],
  ])
}

function pairs(headers: Record<string, string>): string[] {
  return Object.entries(headers).flat()
}

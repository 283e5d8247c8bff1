import { RegistryError } from '../../lib/errors.ts'
import type { RoutedExchange } from '../exchange.ts'
import { sendReply } from '../reply.ts'
import type { Route } from '../route.ts'

export type EmbeddedOptions = {
  /** Print references to ourselves without scheme and host. */
  readonly relative: boolean
  /** Longest time without a byte from, or to, the client. */
  readonly idleTimeoutMs: number
  /** Longest body in bytes; undefined has no limit. */
  readonly maxBodyBytes: number | undefined
  readonly maxManifestBytes: number
  /** Most entries of one page of tags; only for clients that ask for pages. */
  readonly maxTags: number
  /** Most entries of one page of the catalog. */
  readonly maxCatalog: number
}

export type RouteOf<Kind extends Route['kind']> = Extract<Route, { readonly kind: Kind }>

/** Answers one request, or throws a RegistryError while nothing has been answered. */
export type Handler<Kind extends Route['kind']> = (
  exchange: RoutedExchange,
  route: RouteOf<Kind>,
) => Promise<void>

/** The handlers of one kind of route, by method. */
export type Endpoint<Kind extends Route['kind']> = Readonly<Record<string, Handler<Kind>>>

/** The handler for the exchange's method. @throws UNSUPPORTED */
export function handlerFor<Kind extends Route['kind']>(
  endpoint: Endpoint<Kind>,
  { req }: RoutedExchange,
): Handler<Kind> {
  const handler = endpoint[req.method ?? '']
  if (handler === undefined) throw new RegistryError('UNSUPPORTED', { method: req.method })
  return handler
}

/** The `Location` that leads the client to one of our paths. */
export function locationOf(
  path: string,
  { origin }: RoutedExchange,
  { relative }: EmbeddedOptions,
): string {
  return relative ? path : `${origin.scheme}://${origin.authority}${path}`
}

/** Sends an answer that says all in its head, with a length of 0. */
export function sendEmpty(
  exchange: RoutedExchange,
  status: number,
  headers: readonly string[],
): void {
  sendReply(exchange, { status, headers: [...exchange.headers(), ...headers], body: '' })
}

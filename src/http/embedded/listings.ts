import { RegistryError } from '../../lib/errors.ts'
import type { Catalog } from '../../registry/catalog.ts'
import type { Listed, Page } from '../../registry/pages.ts'
import type { Tags } from '../../registry/tags.ts'
import type { RoutedExchange } from '../exchange.ts'
import { sendJson } from '../reply.ts'
import type { EmbeddedOptions, Endpoint, RouteOf } from './endpoint.ts'
import { nextLink } from './links.ts'
import { parseQuery, type Query } from './query.ts'

/** Repositories on a page of the catalog when no number was asked for, as with registry:2. */
const defaultCatalogEntries = 100

/** OCI distribution-spec "Listing Tags". Without `n` it is all tags: many clients know no pages. */
export function createTagsEndpoint(tags: Tags, { maxTags }: EmbeddedOptions): Endpoint<'tags'> {
  const list = async (exchange: RoutedExchange, { name }: RouteOf<'tags'>): Promise<void> => {
    const query = parseQuery(exchange.req.url ?? '')
    const asked = countIn(query)
    const page = pageOf(query, asked && Math.min(asked, maxTags))
    const listed = await tags.list(name, page)
    const link = linkAfter(`/v2/${name}/tags/list`, listed, page)
    const headers = [...exchange.headers(), ...link]
    sendJson(exchange, { status: 200, headers, value: { name, tags: listed.entries } })
  }
  return { GET: list, HEAD: list }
}

/** registry:2's catalog, which OCI distribution-spec leaves open. */
export function createCatalogEndpoint(
  catalog: Catalog,
  { maxCatalog }: EmbeddedOptions,
): Endpoint<'catalog'> {
  const list = async (exchange: RoutedExchange): Promise<void> => {
    const query = parseQuery(exchange.req.url ?? '')
    const asked = countIn(query) ?? Math.min(defaultCatalogEntries, maxCatalog)
    if (asked > maxCatalog) throw new RegistryError('PAGINATION_NUMBER_INVALID', { n: asked })
    const page = pageOf(query, asked)
    const listed = await catalog.list(page)
    const headers = [...exchange.headers(), ...linkAfter('/v2/_catalog', listed, page)]
    sendJson(exchange, { status: 200, headers, value: { repositories: listed.entries } })
  }
  return { GET: list, HEAD: list }
}

/** The `n` of a query. @throws PAGINATION_NUMBER_INVALID */
function countIn(query: Query): number | undefined {
  const text = query.one('n')
  if (text === undefined) return undefined
  if (!/^[0-9]+$/.test(text))
    throw new RegistryError('PAGINATION_NUMBER_INVALID', { n: text.slice(0, 256) })
  return Number(text)
}

function pageOf(query: Query, limit: number | undefined): Page {
  return { limit, after: query.one('last') }
}

/** A page of nothing has no successor, whatever is left: OCI distribution-spec "Listing Tags", `n=0`. */
function linkAfter(
  path: string,
  { entries, more }: Listed<string>,
  { limit }: Page,
): readonly string[] {
  const last = entries.at(-1)
  if (!more || last === undefined) return []
  const count: [string, string][] = limit === undefined ? [] : [['n', String(limit)]]
  return nextLink(path, [['last', last], ...count])
}

import type { ReferrerDescriptor, Referrers } from '../../registry/referrers.ts'
import type { RoutedExchange } from '../exchange.ts'
import { sendReply } from '../reply.ts'
import type { Endpoint, RouteOf } from './endpoint.ts'
import { nextLink } from './links.ts'
import { parseQuery } from './query.ts'

const indexType = 'application/vnd.oci.image.index.v1+json'

/**
 * OCI distribution-spec "Listing Referrers". Of several `artifactType` parameters any may match. The
 * link to the next page keeps the filter, and a page may be empty and yet have a next one.
 */
export function createReferrersEndpoint(referrers: Referrers): Endpoint<'referrers'> {
  const list = async (exchange: RoutedExchange, route: RouteOf<'referrers'>): Promise<void> => {
    const { name, digest } = route
    const query = parseQuery(exchange.req.url ?? '')
    const types = query.all('artifactType').filter((type) => type !== '')
    const after = query.one('last')
    const artifactType = types.length === 1 ? types[0] : undefined
    const { entries, more } = await referrers.list(name, digest, { artifactType, after })
    const last = entries.at(-1)
    const filters = types.map((type) => ['artifactType', type] as const)
    const link =
      more && last !== undefined
        ? nextLink(`/v2/${name}/referrers/${digest}`, [['last', last.digest], ...filters])
        : []
    const applied = types.length === 0 ? [] : ['OCI-Filters-Applied', 'artifactType']
    const headers = ['Content-Type', indexType, ...exchange.headers(), ...applied, ...link]
    sendReply(exchange, { status: 200, headers, body: indexOf(entries.filter(isOneOf(types))) })
  }
  return { GET: list, HEAD: list }
}

function isOneOf(types: readonly string[]): (entry: ReferrerDescriptor) => boolean {
  if (types.length < 2) return () => true
  return ({ artifactType }) => artifactType !== undefined && types.includes(artifactType)
}

function indexOf(manifests: readonly ReferrerDescriptor[]): string {
  return JSON.stringify({ schemaVersion: 2, mediaType: indexType, manifests })
}

import { RegistryError } from '../../lib/errors.ts'
import type { Registry } from '../../registry/registry.ts'
import type { RoutedExchange } from '../exchange.ts'
import type { Backend } from '../pipeline.ts'
import { sendReply } from '../reply.ts'
import { createBlobEndpoint } from './blobs.ts'
import { type EmbeddedOptions, type Endpoint, handlerFor } from './endpoint.ts'
import { createCatalogEndpoint, createTagsEndpoint } from './listings.ts'
import { createManifestEndpoint } from './manifests.ts'
import { createReferrersEndpoint } from './referrers.ts'
import { withAllow } from './refused-methods.ts'
import { ClientGone } from './request-body.ts'
import { limitDelivery } from './sending.ts'
import { withoutSniffing } from './served-types.ts'
import { createUploadEndpoint, createUploadsEndpoint } from './uploads.ts'

/** The embedded registry as what answers the requests of a front. */
export function createEmbeddedBackend(registry: Registry, options: EmbeddedOptions): Backend {
  const dispatch = createDispatch(registry, options)
  return {
    async handle(exchange) {
      try {
        await dispatch(exchange)
      } catch (error) {
        if (!(error instanceof ClientGone)) throw withAllow(error, exchange.route)
        exchange.res.destroy()
      }
      limitDelivery(exchange.res, options.idleTimeoutMs)
    },
    probe: registry.probe,
  }
}

/** Hands an exchange to the endpoint of its route. */
function createDispatch(
  registry: Registry,
  options: EmbeddedOptions,
): (exchange: RoutedExchange) => Promise<void> {
  const blob = createBlobEndpoint(registry.blobs, options)
  const uploads = createUploadsEndpoint(registry.uploads, options)
  const upload = createUploadEndpoint(registry.uploads, options)
  const manifest = createManifestEndpoint(registry, options)
  const tags = createTagsEndpoint(registry.tags, options)
  const catalog = createCatalogEndpoint(registry.catalog, options)
  const referrers = createReferrersEndpoint(registry.referrers)

  return async (exchange) => {
    const { route } = exchange
    switch (route.kind) {
      case 'base':
        return await handlerFor(base, exchange)(exchange, route)
      case 'blob':
        return await handlerFor(blob, exchange)(withoutSniffing(exchange), route)
      case 'uploads':
        return await handlerFor(uploads, exchange)(exchange, route)
      case 'upload':
        return await handlerFor(upload, exchange)(exchange, route)
      case 'manifest':
        return await handlerFor(manifest, exchange)(withoutSniffing(exchange), route)
      case 'tags':
        return await handlerFor(tags, exchange)(exchange, route)
      case 'catalog':
        return await handlerFor(catalog, exchange)(exchange, route)
      case 'referrers':
        return await handlerFor(referrers, exchange)(exchange, route)
      case 'extension':
      case 'local':
        throw new RegistryError('NOT_FOUND', { kind: route.kind })
    }
  }
}

/** OCI distribution-spec "Determining Support". The two bytes are registry:2's. */
const answerBase = async (exchange: RoutedExchange): Promise<void> => {
  const headers = ['Content-Type', 'application/json', ...exchange.headers()]
  sendReply(exchange, { status: 200, headers, body: '{}' })
}
const base: Endpoint<'base'> = { GET: answerBase, HEAD: answerBase }

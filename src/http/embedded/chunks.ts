import { RegistryError } from '../../lib/errors.ts'
import { type ByteRange, parseContentRange } from '../../lib/ranges.ts'
import type { Chunk } from '../../registry/uploads/uploads.ts'
import type { RoutedExchange } from '../exchange.ts'
import type { EmbeddedOptions } from './endpoint.ts'
import { bodyLength, createRequestBody } from './request-body.ts'

/** A request's bytes, and what is called before the first of them is taken. */
export type ReceivedChunk = { readonly chunk: Chunk | undefined; readonly accept: () => void }

/**
 * Lets `use` take the body of a request as a chunk; undefined if the request has none. Content-Type does
 * not matter: a body is always the bytes that it is.
 */
export async function withChunk<T>(
  exchange: RoutedExchange,
  options: EmbeddedOptions,
  use: (received: ReceivedChunk) => Promise<T>,
): Promise<T> {
  if (bodyLength(exchange.req) === 0) return await use({ chunk: undefined, accept: () => {} })
  const range = claimedRange(exchange)
  using source = createRequestBody(exchange, options)
  const chunk = range === undefined ? { source } : { source, range }
  return await use({ chunk, accept: source.accept })
}

/**
 * The place in the upload that a request claims for its body. Without a body there is nothing to have a
 * place.
 * @throws BLOB_UPLOAD_INVALID if it cannot be understood, SIZE_INVALID if the body has another length
 */
function claimedRange({ req }: RoutedExchange): ByteRange | undefined {
  const value = req.headers['content-range']
  if (value === undefined) return undefined
  const range = parseContentRange(value)
  if (range === undefined) {
    const reason = 'Content-Range is not of the form <first>-<last>'
    throw new RegistryError('BLOB_UPLOAD_INVALID', { contentRange: value.slice(0, 256), reason })
  }
  const announced = bodyLength(req)
  const claimed = range.last - range.first + 1
  if (announced !== undefined && announced !== claimed)
    throw new RegistryError('SIZE_INVALID', { contentRange: value, contentLength: announced })
  return range
}

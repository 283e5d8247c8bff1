import type { RepoName } from '../../lib/names.ts'
import type { UploadStatus } from '../../registry/uploads/uploads.ts'
import type { RoutedExchange } from '../exchange.ts'
import { type EmbeddedOptions, locationOf } from './endpoint.ts'

/** An upload session of a repository. */
export type Session = { readonly name: RepoName; readonly status: UploadStatus }

/**
 * What an answer says of a session. `Range` cannot express that nothing has arrived: like registry:2's
 * it is `0-0` then, as it is after the first byte.
 */
export function sessionHeaders(
  { name, status }: Session,
  exchange: RoutedExchange,
  options: EmbeddedOptions,
): Record<string, string> {
  return {
    Location: locationOf(`/v2/${name}/blobs/uploads/${status.id}`, exchange, options),
    Range: `0-${Math.max(0, status.offset - 1)}`,
    'Docker-Upload-UUID': status.id,
  }
}

import type { Case } from './case.ts'
import { registryPull, registryPush } from './cases/blobs.ts'
import { idleConnections, stalledDownloads } from './cases/connections.ts'
import { firstByte } from './cases/first-byte.ts'
import { catalog, tagsAll, tagsPage } from './cases/lists.ts'
import { logins } from './cases/logins.ts'
import { manifestGet, manifestHead } from './cases/manifests.ts'
import { memory } from './cases/memory.ts'
import { proxyDownload, proxyDownloadTls, proxyUpload } from './cases/proxy-streams.ts'
import { smallAnonymous, smallAuthenticated } from './cases/small-requests.ts'

/** Every case, in the order of docs/performance.md. */
export const cases: readonly Case[] = [
  ...[proxyUpload, proxyDownload, proxyDownloadTls],
  ...[smallAuthenticated, smallAnonymous],
  ...[registryPush, registryPull, manifestGet, manifestHead, catalog, tagsPage, tagsAll],
  ...[memory, firstByte, idleConnections, stalledDownloads, logins],
]

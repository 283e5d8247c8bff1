import { readdir, readFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { type Content, digestOf } from '../specification/content.ts'

/** The files of a store, read without any of our own code, so that it can judge that code. */
export type StoreTree = {
  /** Bytes of every blob, by digest. */
  readonly blobs: ReadonlyMap<string, Buffer>
  /** Content of every link, by its path below `repositories`. */
  readonly links: ReadonlyMap<string, string>
  /** Paths below the version folder of files that should not be there for long: neither blob nor link nor upload. */
  readonly others: readonly string[]
  /** Paths below `repositories` of the files of upload sessions. */
  readonly uploads: readonly string[]
}

const version = 'docker/registry/v2'
/** Kept for announcements on a full disk; always there. */
const reserve = 'tidegate/sweeps/spare'

export async function readStore(root: string): Promise<StoreTree> {
  const base = join(root, version)
  const entries = await readdir(base, { recursive: true, withFileTypes: true })
  const blobs = new Map<string, Buffer>()
  const links = new Map<string, string>()
  const others: string[] = []
  const uploads: string[] = []
  for (const entry of entries.filter((found) => found.isFile())) {
    const path = join(entry.parentPath, entry.name)
    const name = relative(base, path)
    const [, algorithm, hex] = /^blobs\/(\w+)\/[0-9a-f]{2}\/([0-9a-f]+)\/data$/.exec(name) ?? []
    if (hex !== undefined) blobs.set(`${algorithm}:${hex}`, await readFile(path))
    else if (/^repositories\/.*\/link$/.test(name)) {
      links.set(relative('repositories', name), await readFile(path, 'latin1'))
    } else if (name.includes('/_uploads/')) uploads.push(relative('repositories', name))
    else if (name !== reserve) others.push(name)
  }
  return { blobs, links, others, uploads }
}

/** What a power cut must never leave: wrong bytes under a digest, torn links, links into nothing. */
export function faultsOf({ blobs, links }: StoreTree): string[] {
  const faults: string[] = []
  for (const [digest, bytes] of blobs) {
    const algorithm = digest.startsWith('sha512') ? 'sha512' : 'sha256'
    if (digestOf(bytes, algorithm) !== digest) faults.push(`${digest} has other bytes`)
  }
  for (const [path, content] of links) {
    if (!blobs.has(content)) faults.push(`${path} leads nowhere: ${content}`)
    if (!isWellPlaced(path, content, links)) faults.push(`${path} must not hold ${content}`)
  }
  return faults
}

/** A link that is named after a digest holds that; a tag leads to a manifest of its repository. */
function isWellPlaced(path: string, content: string, links: StoreTree['links']): boolean {
  const [, algorithm, hex] = /\/(\w+)\/([0-9a-f]{64,128})\/link$/.exec(path) ?? []
  if (hex !== undefined) return content === `${algorithm}:${hex}`
  const [, manifests] = /^(.*\/_manifests)\/tags\/[^/]+\/current\/link$/.exec(path) ?? []
  return links.has(`${manifests}/revisions/${content.replace(':', '/')}/link`)
}

/** Everything that these images are made of, sorted: what a store that holds only them must hold. */
export function contentsOf(images: Iterable<{ readonly parts: readonly Content[] }>): string[] {
  const digests = new Set<string>()
  for (const { parts } of images) for (const { digest } of parts) digests.add(digest)
  return [...digests].sort()
}

import type { RepositoryTree } from '../store-walk.ts'
import type { BlobCensus, CondemnedBlob } from './blobs.ts'
import type { Condemned, RepositoryMark } from './mark.ts'
import type { Fate } from './sweep.ts'

/** Names in a report; there may be any number. */
const maxListed = 1_000

/** The first names of a list, and how many more there were. */
export type NameList = { readonly names: readonly string[]; readonly more: number }

/** What a collection did, or would have done; as JSON. */
export type CollectionReport = {
  /** RFC 3339. */
  readonly started: string
  readonly durationMs: number
  readonly dryRun: boolean
  readonly graceMs: number
  readonly untagged: 'keep' | 'delete'
  readonly repositories: { readonly kept: number; readonly removed: number }
  readonly manifests: { readonly kept: number; readonly removed: number }
  readonly tags: number
  readonly layerLinks: { readonly kept: number; readonly removed: number }
  readonly blobs: {
    readonly kept: number
    readonly removed: number
    readonly keptBytes: number
    readonly removedBytes: number
  }
  /** What came into use between the first look and the second. */
  readonly spared: number
  /** What could not be removed safely and is left to the next collection. */
  readonly left: number
  /** Repositories kept whole because one of their manifests cannot be read: see `fsck`. */
  readonly unreadable: NameList
  readonly removed: {
    readonly repositories: NameList
    readonly manifests: NameList
    readonly layerLinks: NameList
    readonly blobs: NameList
  }
}

/** Counts what happens to what was condemned. */
export type Tally = {
  onLink(item: Condemned, fate: Fate): void
  onBlob(blob: CondemnedBlob, fate: Fate): void
  onRepository(name: string): void
  report(found: Findings, frame: Frame): CollectionReport
}

export type Findings = {
  readonly tree: RepositoryTree
  readonly marks: readonly RepositoryMark[]
  readonly census: BlobCensus
}

type Frame = Pick<CollectionReport, 'started' | 'durationMs' | 'dryRun' | 'graceMs' | 'untagged'>

export function createTally(): Tally {
  const [repositories, manifests, layerLinks, blobs] = [list(), list(), list(), list()]
  const fates = { removed: 0, spared: 0, left: 0 }
  let removedBytes = 0

  return {
    onLink({ kind, name, digest }, fate) {
      // What tags meant once is nothing that anybody counts.
      if (kind === 'history') return
      fates[fate] += 1
      if (fate === 'removed')
        (kind === 'manifest' ? manifests : layerLinks).add(`${name}@${digest}`)
    },
    onBlob({ digest, size }, fate) {
      fates[fate] += 1
      if (fate !== 'removed') return
      blobs.add(digest)
      removedBytes += size
    },
    onRepository: repositories.add,
    report({ tree, marks, census }, frame) {
      const total = (of: (mark: RepositoryMark) => number): number =>
        marks.reduce((sum, mark) => sum + of(mark), 0)
      const condemned = (kind: Condemned['kind']): number =>
        total((mark) => mark.condemned.filter((item) => item.kind === kind).length)
      const unreadable = list()
      for (const { name, isKnown } of marks) if (!isKnown) unreadable.add(name)
      return {
        ...frame,
        repositories: split(tree.repositories.length, repositories.count()),
        manifests: split(
          total((mark) => mark.manifests) + condemned('manifest'),
          manifests.count(),
        ),
        tags: total((mark) => mark.tags),
        layerLinks: split(total((mark) => mark.layers) + condemned('layer'), layerLinks.count()),
        blobs: {
          ...split(census.count, blobs.count()),
          keptBytes: census.bytes - removedBytes,
          removedBytes,
        },
        spared: fates.spared,
        left: fates.left,
        unreadable: unreadable.listed(),
        removed: {
          repositories: repositories.listed(),
          manifests: manifests.listed(),
          layerLinks: layerLinks.listed(),
          blobs: blobs.listed(),
        },
      }
    },
  }
}

function split(all: number, removed: number): { readonly kept: number; readonly removed: number } {
  return { kept: all - removed, removed }
}

function list() {
  const names: string[] = []
  let more = 0
  return {
    add(name: string): void {
      if (names.length < maxListed) names.push(name)
      else more += 1
    },
    count: (): number => names.length + more,
    listed: (): NameList => ({ names: names.toSorted(), more }),
  }
}

import { hash } from 'node:crypto'
import type { Digest } from '../../lib/digest.ts'
import { parseDigest } from '../../lib/digest.ts'
import { RegistryError } from '../../lib/errors.ts'
import { mapOrdered } from '../../lib/map-ordered.ts'
import type { RepoName, Tag } from '../../lib/names.ts'
import type { StorageDriver } from '../../storage/driver.ts'
import {
  blobData,
  blobFolder,
  revision,
  revisionLink,
  revisionMediaType,
  tag as tagFolder,
} from '../../storage/layout.ts'
import type { Admission } from '../admission.ts'
import { readLink, writeLink } from '../links.ts'
import { settleSweeps } from '../sweeps.ts'
import type { Tags } from '../tags.ts'
import { type ManifestDocument, parseManifest } from './document.ts'
import type { ManifestPush, Manifests } from './manifests.ts'
import { blobsUnknown, findReferences } from './references.ts'

const width = 8

/** A manifest on its way into a repository. */
type Arrival = {
  readonly name: RepoName
  readonly digest: Digest
  readonly document: ManifestDocument
  readonly content: Buffer
  readonly tags: readonly Tag[]
}

/** Parts of an arrival that have to be written. */
type Parts = {
  readonly content: boolean
  readonly revision: boolean
  readonly tags: readonly Tag[]
}

/** What a failed push has to bring back. */
type Past = {
  readonly hadRevision: boolean
  /** What the tags meant that it has set. */
  readonly meanings: Map<Tag, Digest | undefined>
}

type PushOptions = {
  readonly driver: StorageDriver
  readonly admission: Admission
  readonly tags: Tags
}

/** Makes `Manifests.put`. */
export function createManifestPush({ driver, admission, tags }: PushOptions): Manifests['put'] {
  return async (name, push) => {
    await admission.write()
    const document = parseManifest(push.content, push.mediaType)
    const { content } = push
    const arrival = { name, document, content, digest: digestOf(push), tags: uniqueTags(push) }
    const references = await findReferences(driver, name, document)
    const link = revisionLink(name, arrival.digest)
    const past: Past = {
      hadRevision: (await readLink(driver, link)) !== undefined,
      meanings: new Map(),
    }
    const folders = [...references.folders, ...foldersOf(arrival)]
    const requireReferences = async (): Promise<void> => {
      await settleSweeps(driver, folders)
      // Even if there was nothing to wait for: a collection may have come and gone while we wrote.
      const lost = await references.lost()
      if (lost.length === 0) return
      await undo(arrival, past, async () => (await references.lost()).length > 0)
      throw blobsUnknown(lost)
    }
    for (let absent = allOf(arrival); absent !== undefined; absent = await lookFor(arrival)) {
      await storeRevision(arrival, absent)
      // Once before the tags, so that none ever means what is incomplete, and once for good.
      await requireReferences()
      await storeTags(arrival, absent, past)
      await requireReferences()
    }
    return { digest: arrival.digest, subject: document.subject }
  }

  /** Bytes, then revision, and tags only after it: a crash in between leaves nothing that leads nowhere. */
  async function storeRevision(arrival: Arrival, absent: Parts): Promise<void> {
    const { name, digest, content } = arrival
    if (absent.content) await driver.write(blobData(digest), content)
    if (absent.revision) {
      await storeMediaType(driver, arrival)
      await writeLink(driver, revisionLink(name, digest), digest)
    }
  }

  async function storeTags(
    { name, digest }: Arrival,
    absent: Parts,
    { meanings }: Past,
  ): Promise<void> {
    const set = async (tag: Tag): Promise<void> => {
      const before = await tags.set(name, tag, digest)
      if (!meanings.has(tag)) meanings.set(tag, before)
    }
    await Array.fromAsync(mapOrdered(absent.tags, width, set))
  }

  /** What a collection or a delete beside us took away; undefined if everything is there. */
  async function lookFor({
    name,
    digest,
    content,
    tags: wanted,
  }: Arrival): Promise<Parts | undefined> {
    // A tag that means something else by now was pushed after us.
    const look = async (tag: Tag): Promise<Tag[]> =>
      (await tags.resolve(name, tag)) === undefined ? [tag] : []
    const absent = {
      content: (await driver.stat(blobData(digest)))?.size !== content.length,
      revision: (await readLink(driver, revisionLink(name, digest))) !== digest,
      tags: (await Array.fromAsync(mapOrdered(wanted, width, look))).flat(),
    }
    return absent.content || absent.revision || absent.tags.length > 0 ? absent : undefined
  }

  /**
   * Tags that nobody else has set since mean again what they meant, as far as that still exists. A push
   * of the same manifest beside us may have been acknowledged, when everything was there again: so each
   * thing goes only if, once it is out of sight, something is still lacking.
   */
  async function undo(
    { name, digest }: Arrival,
    { hadRevision, meanings }: Past,
    isLacking: () => Promise<boolean>,
  ): Promise<void> {
    for (const [tag, before] of meanings) {
      if (before === digest && hadRevision) continue
      const isThere = before && (await readLink(driver, revisionLink(name, before))) !== undefined
      const instead = isThere && before !== digest ? before : undefined
      await tags.replace(name, tag, { digest, instead, isDue: isLacking })
    }
    if (hadRevision) return
    await driver.remove(revision(name, digest), { durable: true, confirm: isLacking })
  }
}

function allOf({ tags }: Arrival): Parts | undefined {
  return { content: true, revision: true, tags }
}

/** Folders that a collection must not take from the arrival. */
function foldersOf({ name, digest, tags }: Arrival): string[] {
  return [blobFolder(digest), revision(name, digest), ...tags.map((tag) => tagFolder(name, tag))]
}

/** Keeps the media type where the JSON does not tell it, and forgets one of an earlier push. */
async function storeMediaType(
  driver: StorageDriver,
  { name, digest, document }: Arrival,
): Promise<void> {
  const path = revisionMediaType(name, digest)
  if (!document.isSelfDescribing) await driver.write(path, document.mediaType)
  else if ((await driver.stat(path)) !== undefined) await driver.remove(path, { durable: true })
}

function digestOf({ digest, content }: ManifestPush): Digest {
  const algorithm = digest === undefined ? 'sha256' : digest.slice(0, digest.indexOf(':'))
  if (algorithm !== 'sha256' && algorithm !== 'sha512') {
    throw new RegistryError('DIGEST_INVALID', { digest, reason: 'unsupported algorithm' })
  }
  const computed = parseDigest(`${algorithm}:${hash(algorithm, content)}`)
  if (digest !== undefined && digest !== computed) {
    throw new RegistryError('DIGEST_MISMATCH', { digest, content: computed })
  }
  return computed
}

function uniqueTags({ tags }: ManifestPush): readonly Tag[] {
  return [...new Set(tags)]
}

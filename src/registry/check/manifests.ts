import { hash } from 'node:crypto'
import type { Digest } from '../../lib/digest.ts'
import type { RepoName } from '../../lib/names.ts'
import {
  blobData,
  layer,
  revision,
  revisionLink,
  revisionMediaType,
  revisions,
} from '../../storage/layout.ts'
import { algorithmOf, isStorable } from '../digester.ts'
import { readLink } from '../links.ts'
import { readManifest } from '../manifests/document.ts'
import { digestsIn } from '../store-walk.ts'
import { badBlob } from './blobs.ts'
import { attempt, type CheckContext, type Finding, isUsable } from './finding.ts'
import { checkLink } from './links.ts'

/** Nothing larger is a manifest. */
const maxManifestBytes = 64 * 1024 * 1024
/** Digests named in one finding. */
const maxNamed = 3

/** What a manifest needs: each is found in one of the places. */
type Need = { readonly digest: Digest; readonly places: readonly ('layers' | 'revisions')[] }

/** Digests whose link and bytes are there. */
export type Usable = { readonly layers: ReadonlySet<Digest>; readonly revisions: Set<Digest> }

/** Looks at the manifests of a repository and adds those that are whole to `usable.revisions`. */
export async function* checkManifests(
  context: CheckContext,
  repository: RepoName,
  usable: Usable,
): AsyncGenerator<Finding> {
  const needs = new Map<Digest, readonly Need[]>()
  for (const digest of await digestsIn(context.driver, revisions(repository))) {
    context.counts.manifests += 1
    const check = () => checkManifest(context, repository, digest)
    const { findings, isWhole, needed } = await attempt(context, check, unknown)
    yield* findings
    if (!isWhole) continue
    usable.revisions.add(digest)
    needs.set(digest, needed)
  }
  const isHere = ({ digest, places }: Need): boolean =>
    places.some((place) => usable[place].has(digest))
  for (const [digest, needed] of needs) {
    const missing = needed.filter((need) => !isHere(need))
    if (missing.length === 0) continue
    const look = () => confirm(context, repository, { digest, missing })
    const finding = await attempt(context, look, undefined)
    if (finding !== undefined) yield finding
  }
}

type ManifestState = {
  readonly findings: readonly Finding[]
  readonly isWhole: boolean
  readonly needed: readonly Need[]
}

/** One that cannot be read may well be whole: what leads to it is left alone. */
const unknown: ManifestState = { findings: [], isWhole: true, needed: [] }

async function checkManifest(
  context: CheckContext,
  repository: RepoName,
  digest: Digest,
): Promise<ManifestState> {
  const damage = await checkContent(context, repository, digest)
  const place = { repository, digest, folder: revision(repository, digest) }
  const { finding, isUsable: isWhole } = await checkLink(context, place)
  const findings = [damage, finding].filter((found) => found !== undefined)
  const needed = isWhole ? await needsOf(context, repository, digest) : []
  return { findings, isWhole, needed }
}

/** Where the bytes of a manifest are. */
async function targetOf(
  { driver }: CheckContext,
  repository: RepoName,
  digest: Digest,
): Promise<Digest> {
  return (await readLink(driver, revisionLink(repository, digest))) ?? digest
}

/** Manifests are small enough to compare their content with their name every time. */
async function checkContent(
  context: CheckContext,
  repository: RepoName,
  digest: Digest,
): Promise<Finding | undefined> {
  const target = await targetOf(context, repository, digest)
  if (!(await isUsable(context, target))) return undefined
  const stat = await context.driver.stat(blobData(target))
  if (stat === undefined || stat.size > maxManifestBytes) return undefined
  const file = await context.driver.read(blobData(target))
  const algorithm = algorithmOf(target)
  if (file === undefined || `${algorithm}:${hash(algorithm, file.content)}` === target) return
  return badBlob(context, target, { kind: 'blob-mismatch', stat })
}

async function needsOf(
  context: CheckContext,
  repository: RepoName,
  digest: Digest,
): Promise<readonly Need[]> {
  const target = await targetOf(context, repository, digest)
  const size = (await context.driver.stat(blobData(target)))?.size ?? 0
  if (size === 0 || size > maxManifestBytes) return []
  const content = (await context.driver.read(blobData(target)))?.content
  const beside = await context.driver.read(revisionMediaType(repository, target))
  const document = content && readManifest(content, beside?.content.toString('latin1').trim())
  if (document === undefined) return []
  const { blobs, manifests, others } = document
  return [
    ...blobs
      .filter(({ required }) => required)
      .map((blob): Need => ({ digest: blob.digest, places: ['layers'] })),
    ...manifests.map((manifest): Need => ({ digest: manifest, places: ['revisions'] })),
    ...others.map((other): Need => ({ digest: other, places: ['revisions', 'layers'] })),
  ].filter((need) => isStorable(need.digest))
}

/** Looks again at what seems to be missing: it may have been removed together with the manifest. */
async function confirm(
  context: CheckContext,
  repository: RepoName,
  { digest, missing }: { readonly digest: Digest; readonly missing: readonly Need[] },
): Promise<Finding | undefined> {
  const gone: Digest[] = []
  for (const { digest: needed, places } of missing) {
    if (!(await isPresent(context, repository, { digest: needed, places }))) gone.push(needed)
  }
  const path = revisionLink(repository, digest)
  if (gone.length === 0 || (await readLink(context.driver, path)) === undefined) return undefined
  const named = gone.slice(0, maxNamed).join(', ')
  const more = gone.length > maxNamed ? ` and ${gone.length - maxNamed} more` : ''
  const detail = `lacks ${named}${more}; push it again`
  return { problem: { kind: 'manifest-incomplete', path, repository, digest, detail } }
}

async function isPresent(
  context: CheckContext,
  repository: RepoName,
  { digest, places }: Need,
): Promise<boolean> {
  for (const place of places) {
    const folder = place === 'layers' ? layer(repository, digest) : revision(repository, digest)
    const { isUsable: isWhole } = await checkLink(context, { repository, digest, folder })
    if (isWhole) return true
  }
  return false
}

import { isUtf8 } from 'node:buffer'
import { type Digest, isDigest } from '../../lib/digest.ts'
import { checkDocument, invalid, isJson, type Json, listOf } from './check.ts'
import {
  isManifestFormat,
  isManifestType,
  isMediaType,
  isNonDistributable,
  isSchema1,
  kindOf,
  ociIndex,
  ociManifest,
} from './media-types.ts'

/** What the registry needs to know of a manifest's JSON. */
export type ManifestDocument = {
  readonly mediaType: string
  /** Whether every registry finds this media type from the JSON alone. */
  readonly isSelfDescribing: boolean
  /** Config and layers. `required` is false for content that may live elsewhere. */
  readonly blobs: readonly { readonly digest: Digest; readonly required: boolean }[]
  /** Manifests of an index. */
  readonly manifests: readonly Digest[]
  /** Entries of an index that are manifests or blobs: build caches list their layers in one. */
  readonly others: readonly Digest[]
  readonly subject: Digest | undefined
  /** The manifest's own, or for images without one the config's media type. */
  readonly artifactType: string | undefined
  readonly annotations: Readonly<Record<string, string>> | undefined
}

/**
 * Reads and checks a manifest. `declared` is its Content-Type without parameters, if it has one.
 * Documents of media types that we do not know need only be JSON objects.
 * @throws MANIFEST_INVALID
 */
export function parseManifest(content: Buffer, declared: string | undefined): ManifestDocument {
  const document = parseObject(content)
  if (document === undefined) throw invalid('the manifest is not a JSON object in UTF-8')
  const mediaType = chooseMediaType(document, declared?.trim() || undefined)
  if (isSchema1(mediaType) || looksLikeSchema1(document, mediaType)) {
    throw invalid('schema 1 is not supported')
  }
  // CVE-2021-41190: two readers must never see different images in the same bytes.
  const isPlain = kindOf(mediaType) === 'unknown' && document['mediaType'] !== undefined
  if (!isPlain && isAmbiguous(document)) {
    throw invalid('the manifest could be read as an image and as an index')
  }
  checkDocument(document, kindOf(mediaType))
  return describe(document, mediaType)
}

/**
 * What a manifest that is stored says, as far as it can be understood; undefined if it is no JSON
 * object. `mediaType` is for documents that do not tell theirs.
 */
export function readManifest(content: Buffer, mediaType?: string): ManifestDocument | undefined {
  const document = parseObject(content)
  if (document === undefined) return undefined
  return describe(document, statedMediaType(document) ?? mediaType ?? impliedMediaType(document))
}

/** How the media type of a manifest is to be found. */
export type MediaTypeHint = {
  /** What its JSON says. */
  readonly stated: string | undefined
  /** What every registry concludes from its JSON when that says nothing. */
  readonly implied: string
}

/** What a manifest's JSON tells of its media type; undefined if it is no JSON object. */
export function readMediaType(content: Buffer): MediaTypeHint | undefined {
  const document = parseObject(content)
  return document && { stated: statedMediaType(document), implied: impliedMediaType(document) }
}

/** The content that a manifest needs. */
export type References = { blobs: Digest[]; manifests: Digest[]; subject: Digest | undefined }

/**
 * Every digest that a stored manifest could keep alive; what may be a blob or a manifest is among
 * both. Never throws: in something torn there is nothing. `mediaType` is for documents that do not
 * tell theirs.
 */
export function referencesOf(content: Buffer, mediaType?: string): References {
  const document = parseObject(content)
  if (document === undefined) return { blobs: [], manifests: [], subject: undefined }
  const subject = digestIn(document['subject'])
  const type = statedMediaType(document) ?? mediaType
  if (type === undefined ? !hasKnownShape(document) : kindOf(type) === 'unknown') {
    const everything = digestsAnywhere(document)
    return { blobs: everything, manifests: [...everything], subject }
  }
  // Whatever the type says: a document of another registry might have been read either way.
  const blobs = [document['config'], ...listOf(document['layers']), ...listOf(document['blobs'])]
  const { manifests, others } = entriesOf(document)
  return {
    blobs: [...new Set([...blobs.flatMap((blob) => digestIn(blob) ?? []), ...others])],
    manifests: [...new Set([...manifests, ...others])],
    subject,
  }
}

function parseObject(content: Buffer): Json | undefined {
  if (!isUtf8(content)) return undefined
  try {
    const value: unknown = JSON.parse(content.toString('utf8'))
    return isJson(value) ? value : undefined
  } catch {
    return undefined
  }
}

function chooseMediaType(document: Json, declared: string | undefined): string {
  const value = document['mediaType']
  const own = isPresent(value) && value !== '' ? value : undefined
  if (own !== undefined && !isMediaType(own)) throw invalid('mediaType is not a media type')
  if (declared !== undefined && !isMediaType(declared)) {
    throw invalid('the Content-Type is not a media type')
  }
  for (const type of [own, declared]) {
    if (type !== undefined && !isManifestFormat(type))
      throw invalid(`${type} is not a media type of JSON, as those of manifests are`)
  }
  if (own === undefined) return declared ?? impliedMediaType(document)
  if (declared !== undefined && own.toLowerCase() !== declared.toLowerCase()) {
    throw invalid(`the Content-Type is ${declared}, but mediaType is ${own}`)
  }
  return own
}

/** Old clients push schema 1 as any JSON. */
function looksLikeSchema1({ schemaVersion, fsLayers }: Json, mediaType: string): boolean {
  return kindOf(mediaType) === 'unknown' && schemaVersion === 1 && Array.isArray(fsLayers)
}

function statedMediaType({ mediaType }: Json): string | undefined {
  return isMediaType(mediaType) ? mediaType : undefined
}

/** OCI image-spec leaves `mediaType` optional; registry:2 concludes from `manifests` too. */
function impliedMediaType(document: Json): string {
  return isPresent(document['manifests']) ? ociIndex : ociManifest
}

function isAmbiguous(document: Json): boolean {
  const isImage = isPresent(document['layers']) || isPresent(document['config'])
  return isImage && isPresent(document['manifests'])
}

function hasKnownShape(document: Json): boolean {
  return ['config', 'layers', 'manifests', 'blobs'].some((key) => isPresent(document[key]))
}

/** Go programs write an empty list as null. */
function isPresent(value: unknown): boolean {
  return value !== undefined && value !== null
}

function describe(document: Json, mediaType: string): ManifestDocument {
  const kind = kindOf(mediaType)
  const config = kind === 'image' ? document['config'] : undefined
  const layers = kind === 'image' ? listOf(document['layers']) : []
  const parts = kind === 'artifact' ? listOf(document['blobs']) : []
  const blobs = [...(isJson(config) ? [config] : []), ...layers, ...parts]
  return {
    mediaType,
    isSelfDescribing: (statedMediaType(document) ?? impliedMediaType(document)) === mediaType,
    blobs: blobs.flatMap((blob) => {
      const digest = digestIn(blob)
      return digest === undefined ? [] : { digest, required: blob === config || !mayBeAway(blob) }
    }),
    ...(kind === 'index' ? entriesOf(document) : { manifests: [], others: [] }),
    subject: digestIn(document['subject']),
    artifactType: textIn(document['artifactType']) ?? textIn(isJson(config) && config['mediaType']),
    annotations: readAnnotations(document['annotations']),
  }
}

function entriesOf(document: Json): { manifests: Digest[]; others: Digest[] } {
  const found: { manifests: Digest[]; others: Digest[] } = { manifests: [], others: [] }
  for (const entry of listOf(document['manifests'])) {
    const digest = digestIn(entry)
    if (digest === undefined) continue
    const type = textIn(isJson(entry) && entry['mediaType'])
    if (type === undefined || isManifestType(type)) found.manifests.push(digest)
    else found.others.push(digest)
  }
  return found
}

function mayBeAway(descriptor: unknown): boolean {
  if (!isJson(descriptor)) return false
  const { urls, mediaType } = descriptor
  return listOf(urls).length > 0 || isNonDistributable(mediaType)
}

/** Undefined unless all of them are texts. */
export function readAnnotations(value: unknown): Readonly<Record<string, string>> | undefined {
  return isJson(value) && isTexts(value) ? value : undefined
}

function isTexts(value: Json): value is Readonly<Record<string, string>> {
  return Object.values(value).every((text) => typeof text === 'string')
}

function textIn(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}

function digestIn(descriptor: unknown): Digest | undefined {
  const digest = isJson(descriptor) ? descriptor['digest'] : undefined
  return typeof digest === 'string' && isDigest(digest) ? digest : undefined
}

function digestsAnywhere(document: Json): Digest[] {
  const found = new Set<Digest>()
  // Not recursive: a document may be nested deeper than the stack reaches.
  const open: unknown[] = [document]
  while (open.length > 0) {
    const value = open.pop()
    if (typeof value === 'string' && isDigest(value)) found.add(value)
    else if (typeof value === 'object' && value !== null) {
      for (const inner of Object.values(value)) open.push(inner)
    }
  }
  return [...found]
}

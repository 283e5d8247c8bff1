import { isDigest } from '../../lib/digest.ts'
import { RegistryError } from '../../lib/errors.ts'
import type { ManifestKind } from './media-types.ts'

/** An object of a JSON document. */
export type Json = Readonly<Record<string, unknown>>

export function isJson(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The elements of a JSON array; none for anything else. */
export function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

/** MANIFEST_INVALID with a reason for the client. */
export function invalid(reason: string): RegistryError {
  return new RegistryError('MANIFEST_INVALID', { reason })
}

/**
 * Checks a manifest's JSON; OCI image-spec "Image Manifest", "Image Index". What it leaves open, and
 * fields of which it says nothing, pass.
 * @throws MANIFEST_INVALID
 */
export function checkDocument(document: Json, kind: ManifestKind): void {
  if (kind === 'unknown') return
  if (kind !== 'artifact' && document['schemaVersion'] !== 2) {
    throw invalid('schemaVersion is not 2')
  }
  if (kind === 'image') {
    checkDescriptor(document['config'], 'config')
    checkDescriptors(document['layers'], 'layers')
  }
  if (kind === 'artifact') checkDescriptors(document['blobs'], 'blobs')
  if (kind === 'index') {
    if (document['manifests'] === undefined) throw invalid('manifests is missing')
    checkDescriptors(document['manifests'], 'manifests')
  }
  if (!isAbsent(document['subject'])) checkDescriptor(document['subject'], 'subject')
  checkText(document['artifactType'], 'artifactType')
  checkAnnotations(document['annotations'])
}

function checkDescriptors(value: unknown, place: string): void {
  // Go programs write an empty list as null.
  if (isAbsent(value)) return
  if (!Array.isArray(value)) throw invalid(`${place} is not a list`)
  for (const [index, descriptor] of value.entries()) {
    checkDescriptor(descriptor, `${place}[${index}]`)
  }
}

/** OCI image-spec "Descriptors". Only `mediaType` may be absent: registry:2 never asked for it. */
function checkDescriptor(value: unknown, place: string): void {
  if (!isJson(value)) throw invalid(`${place} is not a descriptor`)
  const { mediaType, digest, size, urls } = value
  checkText(mediaType, `${place}.mediaType`)
  if (typeof digest !== 'string' || !isDigest(digest)) {
    throw invalid(`${place}.digest is not a digest`)
  }
  if (!Number.isSafeInteger(size) || Number(size) < 0) {
    throw invalid(`${place}.size is not a number of bytes`)
  }
  if (!isAbsent(urls) && !Array.isArray(urls)) throw invalid(`${place}.urls is not a list`)
}

function checkText(value: unknown, place: string): void {
  if (!isAbsent(value) && typeof value !== 'string') throw invalid(`${place} is not a text`)
}

function checkAnnotations(value: unknown): void {
  if (isAbsent(value)) return
  if (!isJson(value)) throw invalid('annotations is not an object')
  for (const text of Object.values(value)) {
    if (typeof text !== 'string') throw invalid('annotations has a value that is not a text')
  }
}

function isAbsent(value: unknown): boolean {
  return value === undefined || value === null
}

/** What the JSON of a manifest is made of. */
export type ManifestKind = 'image' | 'index' | 'artifact' | 'unknown'

export const ociManifest = 'application/vnd.oci.image.manifest.v1+json'
export const ociIndex = 'application/vnd.oci.image.index.v1+json'

const kinds: ReadonlyMap<string, ManifestKind> = new Map([
  [ociManifest, 'image'],
  [ociIndex, 'index'],
  ['application/vnd.docker.distribution.manifest.v2+json', 'image'],
  ['application/vnd.docker.distribution.manifest.list.v2+json', 'index'],
  ['application/vnd.oci.artifact.manifest.v1+json', 'artifact'],
])

const schema1 = /^application\/vnd\.docker\.distribution\.manifest\.v1\+(?:json|prettyjws)$/
/** RFC 6838 section 4.2, without parameters. Also what keeps a media type fit for a header field. */
const grammar = /^[a-zA-Z0-9][a-zA-Z0-9!#$&^_.+-]{0,126}\/[a-zA-Z0-9][a-zA-Z0-9!#$&^_.+-]{0,126}$/
/** Layers that their owner serves from elsewhere; OCI image-spec "Non-Distributable Layers". */
const nonDistributable =
  /^application\/vnd\.(?:oci\.image\.layer\.nondistributable\.|docker\.image\.rootfs\.foreign\.)/

/** What documents of a media type are made of. */
export function kindOf(mediaType: string): ManifestKind {
  return kinds.get(mediaType.toLowerCase()) ?? 'unknown'
}

/** True for the manifests of docker before 1.10. */
export function isSchema1(mediaType: string): boolean {
  return schema1.test(mediaType.toLowerCase())
}

/** True for a type that is surely of manifests, so that no blob has it. */
export function isManifestType(mediaType: string): boolean {
  return kindOf(mediaType) !== 'unknown' || isSchema1(mediaType)
}

/**
 * True for a type that a manifest may be pushed under. It is served under it again: one that browsers
 * render would let whoever may push run scripts with the login of whoever opens a link to it.
 */
export function isManifestFormat(mediaType: string): boolean {
  return /^application\/(?:.*\+)?json$/i.test(mediaType) || isSchema1(mediaType)
}

/** True when `text` is a media type without parameters. */
export function isMediaType(text: unknown): text is string {
  return typeof text === 'string' && grammar.test(text)
}

/** True for layers that a registry need not have. */
export function isNonDistributable(mediaType: unknown): boolean {
  return typeof mediaType === 'string' && nonDistributable.test(mediaType)
}

import { RegistryError } from './errors.ts'

/** A repository name, e.g. `library/alpine`. */
export type RepoName = string & { readonly __brand: 'RepoName' }
/** A manifest's human-readable pointer, e.g. `latest`. */
export type Tag = string & { readonly __brand: 'Tag' }
/** An upload session's identifier, chosen by the registry. */
export type UploadId = string & { readonly __brand: 'UploadId' }

const component = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*'
const repoName = new RegExp(`^${component}(?:/${component})*$`)
const tag = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/
const uploadId = /^[a-zA-Z0-9_.=-]{1,256}$/

/** OCI distribution-spec "Pulling manifests": `<name>`, at most 255 characters. @throws NAME_INVALID */
export function parseRepoName(text: string): RepoName {
  if (!isRepoName(text)) throw new RegistryError('NAME_INVALID', { name: text.slice(0, 256) })
  return text
}

/** OCI distribution-spec "Pulling manifests": `<reference>` as a tag. @throws TAG_INVALID */
export function parseTag(text: string): Tag {
  if (!isTag(text)) throw new RegistryError('TAG_INVALID', { tag: text.slice(0, 256) })
  return text
}

/** True for what registries use as upload session ids (UUIDs and base64url-like tokens). */
export function isUploadId(text: string): text is UploadId {
  return uploadId.test(text)
}

/** True for what `parseRepoName` takes. */
export function isRepoName(text: string): text is RepoName {
  return text.length <= 255 && repoName.test(text)
}

/** True for what `parseTag` takes. */
export function isTag(text: string): text is Tag {
  return tag.test(text)
}

import type { Digest } from '../lib/digest.ts'
import type { RepoName, Tag, UploadId } from '../lib/names.ts'
import type { StoragePath } from './driver.ts'

/*
 * registry:2's tree, one function per path. A link is a file that holds a digest and nothing else.
 *
 *   /docker/registry/v2
 *   ├── blobs/<algorithm>/<first two of hex>/<hex>/data          layers, configs and manifests
 *   ├── repositories/<name>
 *   │   ├── _layers/<algorithm>/<hex>/link                       this repository has that blob
 *   │   ├── _manifests
 *   │   │   ├── revisions/<algorithm>/<hex>/link                 this repository has that manifest
 *   │   │   │                        └── mediatype               ours: a type its JSON does not tell
 *   │   │   └── tags/<tag>
 *   │   │       ├── current/link                                 what the tag means
 *   │   │       └── index/<algorithm>/<hex>/link                 what it ever meant
 *   │   └── _uploads/<id>
 *   │       ├── startedat                                        RFC 3339, whole seconds
 *   │       ├── data                                             what has arrived
 *   │       └── digest                                           ours: what it hashes to, if known
 *   └── tidegate                                                 ours; registry:2 does not look here
 *       ├── sweeps/<run>.<batch>, sweeps/spare                   collections under way, see sweeps.ts
 *       ├── trash/                                               what is being removed
 *       └── readonly                                             exists: no new writes
 *
 * A digest of sha512 is stored under sha512 throughout, which registry:2 reads and collects like any
 * other; links of registry:3 that lead from sha512 to sha256 are followed.
 */

const root = '/docker/registry/v2'

export const blobsRoot: StoragePath = `${root}/blobs`
export const repositoriesRoot: StoragePath = `${root}/repositories`
export const sweepsRoot: StoragePath = `${root}/tidegate/sweeps`
export const trashRoot: StoragePath = `${root}/tidegate/trash`
export const readonlyMark: StoragePath = `${root}/tidegate/readonly`

/** `/<algorithm>/<hex>` of a digest. */
function digestPath(digest: Digest): string {
  return `/${digest.replace(':', '/')}`
}

/** The folder of a blob; it holds `data`. */
export function blobFolder(digest: Digest): StoragePath {
  const [algorithm = '', hex = ''] = digest.split(':')
  return `${blobsRoot}/${algorithm}/${hex.slice(0, 2)}/${hex}`
}

export function blobData(digest: Digest): StoragePath {
  return `${blobFolder(digest)}/data`
}

export function repository(name: RepoName): StoragePath {
  return `${repositoriesRoot}/${name}`
}

export function layers(name: RepoName): StoragePath {
  return `${repository(name)}/_layers`
}

export function layer(name: RepoName, digest: Digest): StoragePath {
  return layers(name) + digestPath(digest)
}

export function layerLink(name: RepoName, digest: Digest): StoragePath {
  return `${layer(name, digest)}/link`
}

export function manifests(name: RepoName): StoragePath {
  return `${repository(name)}/_manifests`
}

export function revisions(name: RepoName): StoragePath {
  return `${manifests(name)}/revisions`
}

export function revision(name: RepoName, digest: Digest): StoragePath {
  return revisions(name) + digestPath(digest)
}

export function revisionLink(name: RepoName, digest: Digest): StoragePath {
  return `${revision(name, digest)}/link`
}

export function revisionMediaType(name: RepoName, digest: Digest): StoragePath {
  return `${revision(name, digest)}/mediatype`
}

export function tags(name: RepoName): StoragePath {
  return `${manifests(name)}/tags`
}

export function tag(name: RepoName, tagName: Tag): StoragePath {
  return `${tags(name)}/${tagName}`
}

export function tagLink(name: RepoName, tagName: Tag): StoragePath {
  return currentLink(tag(name, tagName))
}

/** What a tag means, by its folder, wherever that is. */
export function currentLink(tagFolder: StoragePath): StoragePath {
  return `${tagFolder}/current/link`
}

/** That a tag meant `digest`, by its folder, wherever that is. */
export function historyLink(tagFolder: StoragePath, digest: Digest): StoragePath {
  return `${tagFolder}/index${digestPath(digest)}/link`
}

export function tagIndex(name: RepoName, tagName: Tag, digest: Digest): StoragePath {
  return `${tag(name, tagName)}/index${digestPath(digest)}`
}

export function tagIndexLink(name: RepoName, tagName: Tag, digest: Digest): StoragePath {
  return historyLink(tag(name, tagName), digest)
}

export function uploads(name: RepoName): StoragePath {
  return `${repository(name)}/_uploads`
}

export function upload(name: RepoName, id: UploadId): StoragePath {
  return `${uploads(name)}/${id}`
}

export function uploadData(name: RepoName, id: UploadId): StoragePath {
  return `${upload(name, id)}/data`
}

export function uploadStartedAt(name: RepoName, id: UploadId): StoragePath {
  return `${upload(name, id)}/startedat`
}

export function uploadDigestNote(name: RepoName, id: UploadId): StoragePath {
  return `${upload(name, id)}/digest`
}

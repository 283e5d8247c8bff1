import { isRepoName, isTag, type RepoName, type Tag } from '../lib/names.ts'

/** The tag that a folder is called after; undefined for a folder that is of no tag. */
export function storedTag(folder: string): Tag | undefined {
  return isTag(folder) ? folder : undefined
}

/** The repository at a path below all repositories; undefined where none can be, nor below it. */
export function storedRepository(path: string): RepoName | undefined {
  return isRepoName(path) ? path : undefined
}

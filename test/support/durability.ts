import { dirname } from 'node:path'
import type { TracedCall } from './strace.ts'

/*
 * What a power cut at a given moment would leave of a traced run, by the rules of POSIX and nothing
 * kinder: bytes are safe once their file was synced after the last write, and a name once its folder
 * was synced after it came to be, and so for every folder above. A sync counts for what was done before
 * it began, from the moment it was done. What was there before the trace is safe.
 */

type Span = { readonly begin: number; readonly end: number }

type TracedFile = { readonly writes: Span[]; readonly syncs: Span[] }

type Naming = Span & { readonly file: TracedFile | undefined }

export type DurabilityModel = {
  /** Whether `path` and what it held survive a power cut at the moment `at`. */
  isSafe(path: string, at: number): boolean
  /** Whether there is something called `path` after a power cut at the moment `at`. */
  isNameSafe(path: string, at: number): boolean
  /** As `isSafe`, whichever name in its folder the file has. */
  isSafeUnderAnyName(path: string, at: number): boolean
  /** Whether the removal of `path` survives a power cut at the moment `at`. */
  isSafelyGone(path: string, at: number): boolean
}

/** Replays a trace, in the order in which calls were done. */
export function createDurabilityModel(calls: readonly TracedCall[]): DurabilityModel {
  const files = new Map<string, TracedFile>()
  const namings = new Map<string, Naming[]>()
  const removals = new Map<string, Span[]>()
  const folderSyncs = new Map<string, Span[]>()

  const name = (path: string, span: Span, file: TracedFile | undefined): void => {
    append(namings, path, { begin: span.begin, end: span.end, file })
  }
  const create = (path: string, span: Span): TracedFile => {
    const file: TracedFile = { writes: [], syncs: [] }
    files.set(path, file)
    name(path, span, file)
    return file
  }
  const rename = (from: string, to: string, span: Span): void => {
    append(removals, from, span)
    const file = files.get(from)
    files.delete(from)
    if (file !== undefined) files.set(to, file)
    name(to, span, file)
  }
  const replay: Record<string, (call: TracedCall, path: string) => void> = {
    open(call, path) {
      if (call.text.includes('O_CREAT') && !files.has(path)) create(path, call)
    },
    mkdir: (call, path) => name(path, call, undefined),
    rename: (call) => rename(call.paths[0] ?? '', call.paths[1] ?? '', call),
    unlink(call, path) {
      files.delete(path)
      append(removals, path, call)
    },
    rmdir: (call, path) => append(removals, path, call),
    write: (call, path) => void files.get(path)?.writes.push(call),
    sync(call, path) {
      files.get(path)?.syncs.push(call)
      append(folderSyncs, path, call)
    },
  }
  for (const call of calls.filter(({ hasFailed }) => !hasFailed).sort((a, b) => a.end - b.end)) {
    replay[call.name]?.(call, openedPath(call))
  }

  const isSyncedBetween = (folder: string, after: Span, at: number): boolean =>
    (folderSyncs.get(folder) ?? []).some((sync) => sync.begin > after.end && sync.end < at)
  const isNameSafe = (path: string, at: number): boolean => {
    if (path === '/' || !namings.has(path)) return true
    const isHere = (naming: Span): boolean => isSyncedBetween(dirname(path), naming, at)
    return (namings.get(path) ?? []).some(isHere) && isNameSafe(dirname(path), at)
  }
  return {
    isNameSafe,
    isSafe(path, at) {
      const isSafeAs = (naming: Naming): boolean =>
        isSyncedBetween(dirname(path), naming, at) && isContentSafe(naming.file, naming.begin)
      return (namings.get(path) ?? []).some(isSafeAs) && isNameSafe(dirname(path), at)
    },
    isSafeUnderAnyName(path, at) {
      const folder = dirname(path)
      const namesOf = (file: TracedFile | undefined): Naming[] =>
        [...namings].flatMap(([other, list]) =>
          dirname(other) === folder ? list.filter((naming) => naming.file === file) : [],
        )
      const held = (namings.get(path) ?? []).filter(({ end }) => end < at).at(-1)
      if (held === undefined || !isContentSafe(held.file, at)) return false
      const isHere = namesOf(held.file).some((naming) => isSyncedBetween(folder, naming, at))
      return isHere && isNameSafe(folder, at)
    },
    isSafelyGone: (path, at) =>
      (removals.get(path) ?? []).some((removal) => isSyncedBetween(dirname(path), removal, at)),
  }
}

function append<T>(map: Map<string, T[]>, key: string, value: T): void {
  const list = map.get(key)
  if (list === undefined) map.set(key, [value])
  else list.push(value)
}

/** Whether every byte written before `at` was synced before `at`. */
function isContentSafe(file: TracedFile | undefined, at: number): boolean {
  if (file === undefined) return false
  const written = Math.max(-1, ...file.writes.map(({ end }) => end).filter((end) => end < at))
  return written < 0 || file.syncs.some((sync) => sync.begin > written && sync.end < at)
}

/** The file that a call is about. Its arguments and its result may name it. */
function openedPath({ name, text, paths }: TracedCall): string {
  // What is written may look like a path, too.
  if (name === 'write') return /^\d+<(\/[^>]*)>/.exec(text)?.[1] ?? ''
  return paths.at(-1) ?? ''
}

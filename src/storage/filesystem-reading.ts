import type { BigIntStats } from 'node:fs'
import { constants, type FileHandle, lstat, open, readdir, stat } from 'node:fs/promises'
import type { StoredEntry, StoredStat } from './driver.ts'
import { errorCode, ifPresent, isAbsence } from './filesystem-errors.ts'

/** Most small files and image manifests fit: they take one read. */
const firstReadBytes = 4096
/** What is read whole is links and manifests; a file beyond this is neither. */
const maxWholeBytes = 64 * 1024 * 1024
/** Two changes within one tick of the file system's clock look alike; this is longer than any tick. */
const settledAfterNs = 2_000_000_000n

/**
 * A file or folder as the driver's callers see it; undefined for a socket and the like. `asOf` is a
 * moment before `stats` was asked for, and before the content that it is to vouch for was read.
 */
export function describeStats(stats: BigIntStats, asOf: number): StoredStat | undefined {
  const isFile = stats.isFile()
  if (!isFile && !stats.isDirectory()) return undefined
  const { ino, size, mtimeNs, ctimeNs } = stats
  const isSettled = (changedNs: bigint): boolean =>
    changedNs + settledAfterNs <= BigInt(asOf) * 1_000_000n
  return {
    kind: isFile ? 'file' : 'folder',
    size: isFile ? Number(size) : 0,
    // To the nearest: times are set in microseconds, from a floating-point number just below.
    modifiedAt: Number((mtimeNs + 500_000n) / 1_000_000n),
    version:
      isSettled(mtimeNs) && isSettled(ctimeNs) ? `${ino}-${size}-${mtimeNs}-${ctimeNs}` : undefined,
  }
}

type OpenFile = { readonly file: FileHandle; readonly stats: BigIntStats }

/** Opens a file that exists; undefined if there is none. The caller closes it. */
export async function openFile(path: string, flags: number): Promise<OpenFile | undefined> {
  const file = await ifPresent(open(path, flags)).catch(ignoreFolder)
  if (file === undefined) return undefined
  try {
    const stats = await file.stat({ bigint: true })
    if (stats.isFile()) return { file, stats }
  } catch (error) {
    await file.close()
    throw error
  }
  await file.close()
  return undefined
}

function ignoreFolder(error: unknown): undefined {
  if (errorCode(error) !== 'EISDIR') throw error
}

/** Fills `buffer` from `position` on; resolves with the bytes read, fewer only at the end. */
export async function fill(file: FileHandle, buffer: Buffer, position: number): Promise<number> {
  let filled = 0
  while (filled < buffer.length) {
    const { bytesRead } = await file.read(buffer, filled, buffer.length - filled, position + filled)
    if (bytesRead === 0) break
    filled += bytesRead
  }
  return filled
}

/** A small file, and the stat that belongs to its content; undefined if there is none. */
export async function readSmallFile(
  path: string,
): Promise<{ content: Buffer; stat: StoredStat } | undefined> {
  const file = await ifPresent(open(path, constants.O_RDONLY))
  if (file === undefined) return undefined
  try {
    return await readWhole(file).catch(ignoreFolder)
  } finally {
    await file.close()
  }
}

/**
 * The content of a small file and what belongs to it, asked for afterwards: if nothing had changed for
 * a while then, nothing changed while it was read. registry:2.8 overwrites files in place.
 */
async function readWhole(
  file: FileHandle,
): Promise<{ content: Buffer; stat: StoredStat } | undefined> {
  const asOf = Date.now()
  const first = Buffer.allocUnsafe(firstReadBytes)
  const { bytesRead } = await file.read(first, 0, first.length, 0)
  let stats = await file.stat({ bigint: true })
  let content: Buffer = Buffer.from(first.subarray(0, bytesRead))
  if (stats.size > bytesRead) {
    content = await readRest(file, content, Number(stats.size))
    stats = await file.stat({ bigint: true })
  }
  const described = describeStats(stats, asOf)
  if (described?.kind !== 'file') return undefined
  const version = described.size === content.length ? described.version : undefined
  return { content, stat: { ...described, size: content.length, version } }
}

async function readRest(file: FileHandle, first: Buffer, size: number): Promise<Buffer> {
  if (size > maxWholeBytes) throw new Error(`a file of ${size} bytes is too large to be read whole`)
  const content = Buffer.allocUnsafe(size)
  first.copy(content)
  const rest = await fill(file, content.subarray(first.length), first.length)
  return content.subarray(0, first.length + rest)
}

/** What is directly in a folder; see `StorageDriver`. */
export async function listFolder(path: string): Promise<StoredEntry[] | undefined> {
  const entries = await readEntries(path)
  if (entries === undefined) return undefined
  const listed: StoredEntry[] = []
  for (const entry of entries) {
    const { name } = entry
    if (!isComponent(name)) continue
    if (entry.isFile()) listed.push({ name, kind: 'file' })
    else if (entry.isDirectory()) listed.push({ name, kind: 'folder' })
    else {
      // A symbolic link, or a file system that does not tell.
      const stats = await lookBehind(`${path}/${name}`)
      const described = stats && describeStats(stats, 0)
      if (described !== undefined) listed.push({ name, kind: described.kind })
    }
  }
  return listed
}

/** What an entry is, or leads to; undefined if it has gone since it was listed. */
async function lookBehind(path: string): Promise<BigIntStats | undefined> {
  const stats = await ifPresent(stat(path, { bigint: true }))
  if (stats !== undefined || (await ifPresent(lstat(path))) === undefined) return stats
  throw new Error(`${path} leads to what is not there: a disk that is not mounted?`)
}

async function readEntries(path: string) {
  try {
    return await readdir(path, { withFileTypes: true })
  } catch (error) {
    // Where types are not told Node asks for each entry, and one that vanishes meanwhile looks like
    // this too. But whoever takes a folder for absent may take all that it refers to for unused.
    const isOfFolder = error instanceof Error && 'syscall' in error && error.syscall === 'scandir'
    if (isOfFolder && isAbsence(error)) return undefined
    throw error
  }
}

/** True for a name that may stand between two slashes of a `StoragePath`. */
function isComponent(name: string): boolean {
  return /^[A-Za-z0-9._=-]+$/.test(name)
}

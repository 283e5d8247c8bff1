import { createHash } from 'node:crypto'
import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ByteSource } from '../../../../src/lib/byte-source.ts'
import { type Digest, parseDigest } from '../../../../src/lib/digest.ts'
import { parseRepoName } from '../../../../src/lib/names.ts'
import { type AdmissionOptions, createAdmission } from '../../../../src/registry/admission.ts'
import { createBlobs } from '../../../../src/registry/blobs.ts'
import { createUploads } from '../../../../src/registry/uploads/uploads.ts'
import type { StorageDriver, StoredReader } from '../../../../src/storage/driver.ts'
import { createFilesystemDriver } from '../../../../src/storage/filesystem.ts'

export const repo = parseRepoName('library/alpine')
export const otherRepo = parseRepoName('library/debian')
export const ignore = (): void => {}

export function digestOf(bytes: string | Uint8Array, algorithm = 'sha256'): Digest {
  return parseDigest(`${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`)
}

/** A registry's blobs and uploads on a temporary folder; `restart` makes another one on the same. */
export async function createStore(options: Partial<AdmissionOptions> = {}) {
  const dir = await mkdtempDisposable(join(tmpdir(), 'tidegate-'))
  const driver = createFilesystemDriver({ root: dir.path })
  return {
    root: dir.path,
    driver,
    ...serve(driver, options),
    restart: (on: StorageDriver = driver) => serve(on, options),
    [Symbol.asyncDispose]: () => dir.remove(),
  }
}

export function serve(driver: StorageDriver, options: Partial<AdmissionOptions> = {}) {
  const admission = createAdmission(driver, {
    readonly: false,
    deleteEnabled: true,
    minFree: () => 0,
    ...options,
  })
  return {
    uploads: createUploads({ driver, admission }),
    blobs: createBlobs({ driver, admission }),
  }
}

/** Hands out `bytes`, and then ends, or fails with `error`. */
export function sourceOf(bytes: string | Uint8Array, error?: Error): ByteSource {
  const source = createFeed()
  source.push(bytes)
  if (error === undefined) source.end()
  else source.fail(error)
  return source
}

/** A source that the test feeds while it is read. */
export function createFeed() {
  let held: Buffer = Buffer.alloc(0)
  let over: { error?: Error } | undefined
  let waiting: (() => void) | undefined
  let fills = 0
  const wake = (): void => waiting?.()
  return {
    get fills() {
      return fills
    },
    push(bytes: string | Uint8Array) {
      held = Buffer.concat([held, Buffer.from(bytes)])
      wake()
    },
    end() {
      over = {}
      wake()
    },
    fail(error: Error) {
      over = { error }
      wake()
    },
    async fill(buffer: Buffer): Promise<number> {
      fills += 1
      while (held.length < buffer.length && over === undefined) {
        const { promise, resolve } = Promise.withResolvers<void>()
        waiting = resolve
        await promise
      }
      if (held.length === 0 && over?.error !== undefined) throw over.error
      const count = held.copy(buffer)
      held = held.subarray(count)
      return count
    },
  }
}

export async function readAll(reader: StoredReader): Promise<Buffer> {
  await using opened = reader
  const bytes = Buffer.alloc(opened.stat.size)
  await opened.read(bytes, 0)
  return bytes
}

/** Bytes that differ from place to place. */
export function pattern(length: number, seed = 1): Buffer {
  const bytes = Buffer.alloc(length)
  for (let at = 0, state = seed; at < length; at += 1) {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648
    bytes[at] = state >> 16
  }
  return bytes
}

/** A driver that does as `driver`, except for what `changes` replaces. */
export function altered(driver: StorageDriver, changes: Partial<StorageDriver>): StorageDriver {
  return { ...driver, ...changes }
}

/** Resolves when `isTrue` does, or fails the test by its time limit. */
export async function until(isTrue: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await isTrue())) await new Promise((resolve) => setTimeout(resolve, 2))
}

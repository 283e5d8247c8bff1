import { readFile } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'

/** What a file held when it was looked at: its bytes, or why they could not be read. */
export type FileState = { readonly bytes: Buffer } | { readonly error: NodeJS.ErrnoException }

type WatchOptions = {
  /** Time between two looks, in milliseconds. */
  intervalMs?: number
  /** Called, one call at a time, whenever any of the files holds something else than before. */
  onChange: (states: readonly FileState[]) => void | Promise<void>
}

/**
 * Looks at small files every two seconds and reports when any of them changed, until disposed.
 *
 * It compares contents, because nothing else is reliable: an inotify watch dies with the inode when
 * Kubernetes swaps its `..data` symlink or an editor renames over the file, and modification times
 * do not move on some network file systems.
 */
export function watchFiles(
  paths: readonly string[],
  initial: readonly FileState[],
  { intervalMs = 2000, onChange }: WatchOptions,
): AsyncDisposable {
  const stop = new AbortController()

  const run = async (): Promise<void> => {
    let last = initial
    while (!stop.signal.aborted) {
      await delay(intervalMs, undefined, { signal: stop.signal, ref: false })
      const states = await readStates(paths)
      if (states.every((state, index) => isSameState(state, last[index]))) continue
      last = states
      await onChange(states)
    }
  }
  const running = run().catch((error: unknown) => {
    if (!stop.signal.aborted) throw error
  })

  return {
    async [Symbol.asyncDispose]() {
      stop.abort()
      await running
    },
  }
}

/** Reads every file once; a file that cannot be read is a state, not an exception. */
export function readStates(paths: readonly string[]): Promise<FileState[]> {
  return Promise.all(
    paths.map((path) =>
      readFile(path).then(
        (bytes) => ({ bytes }),
        (error: NodeJS.ErrnoException) => ({ error }),
      ),
    ),
  )
}

function isSameState(now: FileState, before: FileState | undefined): boolean {
  if (before === undefined) return false
  if ('bytes' in now) return 'bytes' in before && now.bytes.equals(before.bytes)
  return 'error' in before && now.error.code === before.error.code
}

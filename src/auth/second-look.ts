import type { FileState } from '../lib/file-watch.ts'

export type SecondLook = {
  /** Calls back once, when a later look finds the file as it was: with these bytes. */
  begin(bytes: Buffer, onUnchanged: () => void): void
  cancel(): void
}

type LookOptions = {
  look: () => Promise<FileState | undefined>
  /** Time between two looks, in milliseconds. */
  intervalMs: number
}

/** Looks at a file again, to tell what is meant from what was met half written. */
export function createSecondLook({ look, intervalMs }: LookOptions): SecondLook {
  let timer: NodeJS.Timeout | undefined
  let awaited: Buffer | undefined

  const begin = (bytes: Buffer, onUnchanged: () => void): void => {
    awaited = bytes
    timer = setTimeout(async () => {
      const state = await look()
      if (awaited !== bytes) return
      if (state !== undefined && 'bytes' in state && state.bytes.equals(bytes)) onUnchanged()
      // A change is for the watch to report, which cancels this; or it is gone by the next look.
      else begin(bytes, onUnchanged)
    }, intervalMs).unref()
  }

  return {
    begin,
    cancel() {
      clearTimeout(timer)
      awaited = undefined
    },
  }
}

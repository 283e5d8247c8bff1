import { createHash, hkdfSync } from 'node:crypto'
import type { FileState } from '../lib/file-watch.ts'

type TicketKeysOptions = {
  /** Random; whoever has it can read the sessions of all who resume them. */
  readonly secret: Uint8Array
  /** Certificate, key and client authorities: a session ends with the files under which it began. */
  readonly files: readonly FileState[]
  /** Puts the keys in force. */
  readonly use: (keys: Buffer) => void
}

export type TicketKeys = Disposable & {
  /** The files that count from now on. */
  follow(files: readonly FileState[]): void
}

const dayMs = 86_400_000

/**
 * Keys of TLS session tickets that all processes with the same secret and files have, without a word
 * between them; new ones every day (UTC), so that none opens more than a day's sessions.
 */
export function openTicketKeys({ secret, files, use }: TicketKeysOptions): TicketKeys {
  let current = files
  let timer: NodeJS.Timeout | undefined
  const renew = (): void => {
    const now = Date.now()
    use(deriveTicketKeys(secret, current, now))
    clearTimeout(timer)
    // A timer may fire a little early, and would then find the same day.
    timer = setTimeout(renew, dayMs - (now % dayMs) + 10).unref()
  }
  renew()
  return {
    follow(next) {
      current = next
      renew()
    },
    [Symbol.dispose]: () => clearTimeout(timer),
  }
}

/** The 48 bytes that `tls.Server.setTicketKeys` takes, of the day of `now`. RFC 5869. */
export function deriveTicketKeys(
  secret: Uint8Array,
  files: readonly FileState[],
  now: number,
): Buffer {
  const day = Math.floor(now / dayMs)
  return Buffer.from(hkdfSync('sha256', secret, fingerprint(files), `session tickets ${day}`, 48))
}

function fingerprint(files: readonly FileState[]): Buffer {
  const hash = createHash('sha256')
  for (const file of files) {
    const bytes = 'bytes' in file ? file.bytes : Buffer.alloc(0)
    hash.update(createHash('sha256').update(bytes).digest())
  }
  return hash.digest()
}

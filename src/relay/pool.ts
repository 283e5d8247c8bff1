import { type Connection, openConnection } from './connection.ts'
import type { UpstreamTarget } from './upstream-socket.ts'

export type Pool = {
  /**
   * A connection that is free. `careful`: the request cannot be sent twice, so only a connection
   * that was in use a moment ago is good enough; `fresh`: only a new one is.
   * @throws UPSTREAM_UNREACHABLE, UPSTREAM_TIMEOUT
   */
  acquire(need: 'any' | 'careful' | 'fresh'): Connection | Promise<Connection>
  /** Closes the idle connections now and every other one as it becomes free. */
  close(): void
}

type PoolOptions = { readonly connectTimeoutMs: number; readonly now?: () => number }

/** Idle connections are left alone after this long: backends close theirs too, at 60 s and more. */
const maxIdleMs = 15_000
const carefulIdleMs = 1000
/** Enough for bursts; more idle connections than this are closed. */
const maxIdle = 64

/**
 * Keeps connections to one upstream, last in first out, so that a quiet time lets the extra ones age
 * away. A connection that the upstream may be closing just now loses the request that is put on it,
 * hence `careful` for what cannot be retried.
 */
export function createPool(
  target: UpstreamTarget,
  { connectTimeoutMs, now = Date.now }: PoolOptions,
): Pool {
  const idle: { readonly connection: Connection; readonly since: number }[] = []
  let closed = false
  let sweeper: NodeJS.Timeout | undefined

  const forget = (connection: Connection): void => {
    const index = idle.findIndex((entry) => entry.connection === connection)
    if (index !== -1) idle.splice(index, 1)
  }

  const closeAged = (): void => {
    while (idle[0] !== undefined && now() - idle[0].since > maxIdleMs) {
      idle.shift()?.connection.destroy()
    }
  }

  /** Runs while any connection is idle, as often as one may be aged. */
  const sweep = (): void => {
    closeAged()
    const [oldest] = idle
    sweeper =
      oldest === undefined
        ? undefined
        : setTimeout(sweep, oldest.since + maxIdleMs + 1 - now()).unref()
  }

  const keep = (connection: Connection): void => {
    if (closed || idle.length >= maxIdle) {
      connection.destroy()
      return
    }
    idle.push({ connection, since: now() })
    sweeper ??= setTimeout(sweep, maxIdleMs + 1).unref()
  }
  /** The connection that became free last, if that is recent enough and it is still open. */
  const takeIdle = (maxAgeMs: number): Connection | undefined => {
    for (let last = idle.pop(); last !== undefined; last = idle.pop()) {
      if (last.connection.destroyed) continue
      if (now() - last.since <= maxAgeMs) return last.connection
      idle.push(last)
      return undefined
    }
    return undefined
  }

  const open = (): Promise<Connection> =>
    openConnection(target, { onIdle: keep, onClose: forget }, connectTimeoutMs)

  return {
    acquire(need) {
      closeAged()
      const maxAgeMs = need === 'any' ? maxIdleMs : carefulIdleMs
      return need === 'fresh' ? open() : (takeIdle(maxAgeMs) ?? open())
    },
    close() {
      closed = true
      clearTimeout(sweeper)
      for (const { connection } of idle.splice(0)) connection.destroy()
    },
  }
}

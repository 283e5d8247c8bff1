import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { StorageDriver } from '../storage/driver.ts'
import { trashRoot } from '../storage/layout.ts'
import { type CollectionOptions, collect } from './collection/collection.ts'
import { buryDead, prepareSweeps } from './sweep-announcements.ts'
import { purgeUploads } from './uploads/purge.ts'

/** How long a stop waits for the step that is under way. */
const stopWithinMs = 5_000
/** How often announcements of killed collections are looked for: each push of what is in one waits. */
const sweepsEveryMs = 600_000

export type MaintenanceParts = {
  readonly driver: StorageDriver
  readonly log: Logger
  /** Undefined: uploads are not purged. */
  readonly purge:
    | { readonly intervalMs: number; readonly ageMs: number; readonly dryRun: boolean }
    | undefined
  /** Undefined: nothing is collected on a schedule. */
  readonly gc: ({ readonly intervalMs: number } & Omit<CollectionOptions, 'dryRun'>) | undefined
  /** Whether the store must not change now; then a step is left out. */
  readonly isReadonly: () => Promise<boolean>
  /** Between 0 and 1. */
  readonly random?: () => number
  /** How long an announcement must stand still to be of a collection that was killed. */
  readonly patienceMs?: number
}

/**
 * Takes back what killed collections have announced, at once and then every few minutes. Purges uploads at
 * once and then every interval; collects every interval, the first time after a random part of it, so that
 * several processes on one store take turns. Disposing it stops all. Failures are logged. It does not keep
 * the process alive.
 */
export function startMaintenance(parts: MaintenanceParts): AsyncDisposable {
  const { driver, log, purge, gc, patienceMs, random = Math.random } = parts
  const stop = new AbortController()
  const loops: Promise<void>[] = []
  const begin = (
    name: string,
    firstMs: number,
    everyMs: number,
    step: () => Promise<void>,
  ): void => {
    let wasReadonly = false
    const guarded = async (): Promise<void> => {
      const isReadonly = await parts.isReadonly()
      // Once, not each time: it may stay so for long.
      if (isReadonly && !wasReadonly)
        log.info({ step: name }, 'left out from now on: the store is read-only')
      wasReadonly = isReadonly
      if (!isReadonly) {
        await step()
        await emptyTrash(driver, stop.signal)
      }
    }
    loops.push(repeat({ signal: stop.signal, log, name, firstMs, everyMs, step: guarded }))
  }
  begin('preparation', 0, sweepsEveryMs, () => prepareSweeps(driver))
  begin('announcements', 0, sweepsEveryMs, () =>
    buryDead(driver, { patienceMs, signal: stop.signal }),
  )
  if (purge !== undefined) {
    begin('upload purge', 0, purge.intervalMs, async () => {
      const report = await purgeUploads({ ...parts, ...purge, signal: stop.signal })
      if (report.sessions > 0) log.info({ ...report, dryRun: purge.dryRun }, 'uploads purged')
    })
  }
  if (gc !== undefined) {
    begin('collection', gc.intervalMs * random(), gc.intervalMs, async () => {
      const options = { graceMs: gc.graceMs, untagged: gc.untagged, dryRun: false }
      const report = await collect({ driver, log, options, signal: stop.signal })
      if (report === undefined) log.info('no collection: another one is under way')
      else log.info({ collection: { ...report, removed: undefined } }, 'collection done')
    })
  }
  return {
    async [Symbol.asyncDispose]() {
      stop.abort()
      const patience = new AbortController()
      const tooLong = sleep(stopWithinMs, undefined, { signal: patience.signal }).catch(() => {})
      await Promise.race([Promise.all(loops), tooLong])
      patience.abort()
    },
  }
}

type Loop = {
  readonly signal: AbortSignal
  readonly log: Logger
  readonly name: string
  readonly firstMs: number
  readonly everyMs: number
  readonly step: () => Promise<void>
}

async function repeat({ signal, log, name, firstMs, everyMs, step }: Loop): Promise<void> {
  for (let delayMs = firstMs; await pause(delayMs, signal); delayMs = everyMs) {
    try {
      await step()
    } catch (error) {
      if (!signal.aborted) log.error({ err: error, step: name }, 'maintenance failed')
    }
  }
}

/** The longest that a timer can wait. */
const maxTimerMs = 2 ** 31 - 1

/** False if `signal` was aborted meanwhile. */
async function pause(ms: number, signal: AbortSignal): Promise<boolean> {
  const options = { signal, ref: false }
  for (let left = ms; left > 0 && !signal.aborted; left -= maxTimerMs) {
    await sleep(Math.min(left, maxTimerMs), undefined, options).catch(() => {})
  }
  return !signal.aborted
}

/**
 * Deletes what a process had taken out of the tree when it was killed, or what one is deleting now. What
 * came here within the last seconds, and so has no version yet, may be looked at and put back.
 */
async function emptyTrash(driver: StorageDriver, signal: AbortSignal): Promise<void> {
  for (const { name } of (await driver.list(trashRoot)) ?? []) {
    signal.throwIfAborted()
    const path = `${trashRoot}/${name}`
    const isSettled = (await driver.stat(path))?.version !== undefined
    if (isSettled) await driver.remove(path, { durable: false })
  }
}

import type { MetricsSnapshot } from '../observability/metrics.ts'
import { createMetricsLedger } from '../observability/metrics-ledger.ts'
import type { Channel } from './channel.ts'
import { within } from './patience.ts'
import type { WorkerHandlers } from './protocol.ts'

/** A worker that is too busy to answer counts as it last did. */
const snapshotMs = 2_000

type Worker = Channel<WorkerHandlers>

/** Returns what gathers the metrics of those that are there, and of those that have gone. */
export function createWorkerMetrics(
  workers: () => readonly Worker[],
): () => Promise<readonly MetricsSnapshot[]> {
  const ledger = createMetricsLedger<Worker>()
  /** One that hangs is not asked by each scrape anew. */
  const asked = new WeakMap<Worker, Promise<void>>()

  const ask = async (worker: Worker): Promise<void> => {
    try {
      ledger.record(worker, await worker.ask('snapshot'))
    } catch {
      // It has ended.
    } finally {
      asked.delete(worker)
    }
  }
  const refresh = async (worker: Worker): Promise<void> => {
    const answered = asked.get(worker) ?? ask(worker)
    asked.set(worker, answered)
    await within(snapshotMs, answered).catch(() => {})
  }
  return async () => {
    await Promise.all(workers().map(refresh))
    return await ledger.snapshots(workers())
  }
}

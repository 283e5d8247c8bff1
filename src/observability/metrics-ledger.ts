import { addMetrics, type MetricsSnapshot } from './metrics.ts'

/** What processes have counted that come and go. */
export type MetricsLedger<Process extends object> = {
  /** Of one that was not present any more it is too late. */
  record(process: Process, snapshot: MetricsSnapshot): void
  /**
   * The last snapshot of each process that is there, and what those that have gone had counted. A sum
   * of counters without them would fall, which Prometheus takes for a restart of the whole.
   */
  snapshots(present: readonly Process[]): Promise<readonly MetricsSnapshot[]>
}

export function createMetricsLedger<Process extends object>(): MetricsLedger<Process> {
  const latest = new Map<Process, MetricsSnapshot>()
  const retired = new WeakSet<Process>()
  let past: Promise<MetricsSnapshot> = Promise.resolve([])

  return {
    record(process, snapshot) {
      if (!retired.has(process)) latest.set(process, snapshot)
    },
    async snapshots(present) {
      for (const [process, snapshot] of latest) {
        if (present.includes(process)) continue
        latest.delete(process)
        retired.add(process)
        past = addTo(past, snapshot)
      }
      // In one step: another call may retire some of these while this one waits.
      return await Promise.all([past, ...latest.values()])
    },
  }
}

/** Only what adds up over time: nothing is open or in flight in a process that has gone. */
async function addTo(
  past: Promise<MetricsSnapshot>,
  snapshot: MetricsSnapshot,
): Promise<MetricsSnapshot> {
  return await addMetrics([await past, snapshot.filter(({ type }) => type !== 'gauge')])
}

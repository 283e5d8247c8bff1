import test from 'ava'
import { createMetrics, type MetricsSnapshot } from '../../../src/observability/metrics.ts'
import type { Channel } from '../../../src/workers/channel.ts'
import type { WorkerHandlers } from '../../../src/workers/protocol.ts'
import { createWorkerMetrics } from '../../../src/workers/worker-metrics.ts'

/** A worker whose snapshot is what `answer` says, and how often it was asked. */
function createWorker(answer: () => Promise<MetricsSnapshot>) {
  const worker = { asked: 0 }
  const ask = (): Promise<MetricsSnapshot> => {
    worker.asked += 1
    return answer()
  }
  const channel = { ask, tell() {} } as unknown as Channel<WorkerHandlers> // asked for nothing else
  return Object.assign(worker, { channel })
}

test('worker metrics: one that hangs is asked once, however often somebody looks, and delays the others by a bit', async (t) => {
  const hung = createWorker(() => new Promise(() => {}))
  const quick = createWorker(createMetrics().snapshot)
  const look = createWorkerMetrics(() => [hung.channel, quick.channel])
  for (let i = 0; i < 2; i += 1) {
    const snapshots = await Promise.all([look(), look()])
    t.deepEqual(
      snapshots.map(({ length }) => length),
      [2, 2],
    )
  }
  t.is(hung.asked, 1)
  t.true(quick.asked >= 2)
})

test('worker metrics: one that ends while it is asked is no fault, and is asked no more', async (t) => {
  const gone = createWorker(() => Promise.reject(new Error('gone')))
  let workers = [gone.channel]
  const look = createWorkerMetrics(() => workers)
  t.is((await look()).length, 1)
  workers = []
  t.is((await look()).length, 1)
  t.is(gone.asked, 1)
})

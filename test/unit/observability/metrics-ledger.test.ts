import test from 'ava'
import { createMetrics, formatMetrics } from '../../../src/observability/metrics.ts'
import { createMetricsLedger } from '../../../src/observability/metrics-ledger.ts'

const request = { kind: 'blob', method: 'GET', status: 200, ms: 10, bytesIn: 1, bytesOut: 20 }

/** What a worker would send that has answered so many requests, and answers one more. */
async function snapshotAfter(requests: number) {
  const metrics = createMetrics()
  metrics.observeRequestStart()
  for (let left = requests; left > 0; left--) {
    metrics.observeRequestStart()
    metrics.observeRequest(request)
  }
  return await metrics.snapshot()
}

function valueIn(text: string, sample: string): number {
  const line = text.split('\n').find((one) => one.startsWith(`${sample} `))
  return Number(line?.slice(sample.length))
}

/** Processes by name. */
const [first, second, third] = [{ name: 'first' }, { name: 'second' }, { name: 'third' }]
const total = 'tidegate_requests_total{route="blob",method="GET",code="200"}'
const inFlight = 'tidegate_requests_in_flight'

test('metrics ledger: counters never fall when processes go, and gauges go with them', async (t) => {
  const ledger = createMetricsLedger<object>()
  const expected: number[][] = [
    [2, 1],
    [5, 2],
    [6, 1],
    [9, 1],
  ]
  const read: number[][] = []
  const scrape = async (...present: object[]): Promise<void> => {
    const text = await formatMetrics(await ledger.snapshots(present))
    read.push([valueIn(text, total), valueIn(text, inFlight)])
  }
  ledger.record(first, await snapshotAfter(2))
  await scrape(first)
  ledger.record(second, await snapshotAfter(3))
  await scrape(first, second)
  ledger.record(second, await snapshotAfter(4))
  await scrape(second)
  ledger.record(third, await snapshotAfter(3))
  await scrape(third)
  t.deepEqual(read, expected)
})

test('metrics ledger: a process that does not answer counts with what it said last', async (t) => {
  const ledger = createMetricsLedger<object>()
  ledger.record(first, await snapshotAfter(7))
  for (let scrapes = 2; scrapes > 0; scrapes--) {
    const text = await formatMetrics(await ledger.snapshots([first, second]))
    t.is(valueIn(text, total), 7)
  }
})

test('metrics ledger: two scrapes at once count a process that has gone once', async (t) => {
  const ledger = createMetricsLedger<object>()
  ledger.record(first, await snapshotAfter(1))
  ledger.record(second, await snapshotAfter(2))
  const both = await Promise.all([ledger.snapshots([second]), ledger.snapshots([])])
  const texts = await Promise.all(both.map(formatMetrics))
  t.is(valueIn(texts[0] ?? '', total), 3)
  t.is(valueIn(await formatMetrics(await ledger.snapshots([])), total), 3)
})

test('metrics ledger: what a process that has gone says too late is not counted again', async (t) => {
  const ledger = createMetricsLedger<object>()
  ledger.record(first, await snapshotAfter(2))
  await ledger.snapshots([])
  ledger.record(first, await snapshotAfter(3))
  t.is(valueIn(await formatMetrics(await ledger.snapshots([])), total), 2)
})

import test from 'ava'
import { createMetrics, formatMetrics, type Metrics } from '../../../src/observability/metrics.ts'

const request = { kind: 'blob', method: 'GET', status: 200, ms: 10, bytesIn: 1, bytesOut: 20 }

function observe(metrics: Metrics, ...requests: readonly Partial<typeof request>[]): void {
  for (const fields of requests) {
    metrics.observeRequestStart()
    metrics.observeRequest({ ...request, ...fields })
  }
}

/** The samples of a text, by name with labels. */
async function samplesOf(...all: readonly Metrics[]): Promise<ReadonlyMap<string, number>> {
  // What came from another process is a clone.
  const snapshots = await Promise.all(all.map(async (one) => structuredClone(await one.snapshot())))
  const lines = (await formatMetrics(snapshots)).split('\n').filter((line) => /^[^#]/.test(line))
  return new Map(
    lines.map((line) => {
      const at = line.lastIndexOf(' ')
      return [line.slice(0, at), Number(line.slice(at + 1))]
    }),
  )
}

test('methods and statuses that nobody knows are one value of their label', async (t) => {
  const metrics = createMetrics()
  const methods = Array.from({ length: 500 }, (_, at) => ({ method: `METHOD${at}` }))
  const statuses = Array.from({ length: 500 }, (_, at) => ({ status: 600 + at }))
  observe(metrics, ...methods, ...statuses, { method: '__proto__' }, { method: 'other' })
  const samples = await samplesOf(metrics)
  const labels = [...samples.keys()].filter((name) => name.startsWith('tidegate_requests_total'))
  t.deepEqual(labels, [
    'tidegate_requests_total{route="blob",method="other",code="200"}',
    'tidegate_requests_total{route="blob",method="GET",code="other"}',
  ])
  t.is(samples.get(labels[0] ?? ''), 502)
  t.is(samples.get(labels[1] ?? ''), 500)
})

test('requests count by kind of route, method and status; 499 is who left', async (t) => {
  const metrics = createMetrics()
  observe(metrics, {}, {}, { status: 404 }, { status: 499 }, { method: 'HEAD', kind: 'manifest' })
  metrics.observeRequestStart()
  metrics.observeRequest({ ...request, kind: undefined, status: 400 })
  const samples = await samplesOf(metrics)
  const count = (labels: string) => samples.get(`tidegate_requests_total{${labels}}`)
  t.is(count('route="blob",method="GET",code="200"'), 2)
  t.is(count('route="blob",method="GET",code="404"'), 1)
  t.is(count('route="blob",method="GET",code="499"'), 1)
  t.is(count('route="manifest",method="HEAD",code="200"'), 1)
  t.is(count('route="none",method="GET",code="400"'), 1)
  t.is(samples.get('tidegate_request_body_bytes_total'), 6)
  t.is(samples.get('tidegate_response_body_bytes_total'), 120)
})

test('a request is in flight from its start to its end', async (t) => {
  const metrics = createMetrics()
  metrics.observeRequestStart()
  observe(metrics, {})
  t.is((await samplesOf(metrics)).get('tidegate_requests_in_flight'), 1)
  metrics.observeRequest(request)
  t.is((await samplesOf(metrics)).get('tidegate_requests_in_flight'), 0)
})

test('durations fall into every bucket whose bound they do not exceed', async (t) => {
  const metrics = createMetrics()
  observe(metrics, { ms: 0 }, { ms: 5 }, { ms: 6 }, { ms: 600_000 }, { ms: 3_600_000 })
  const samples = await samplesOf(metrics)
  const name = 'tidegate_request_duration_seconds'
  const bucket = (le: string) => samples.get(`${name}_bucket{route="blob",method="GET",le="${le}"}`)
  t.deepEqual(['0.005', '0.025', '60', '600', '+Inf'].map(bucket), [2, 3, 3, 4, 5])
  t.is(samples.get(`${name}_count{route="blob",method="GET"}`), 5)
  t.is(samples.get(`${name}_sum{route="blob",method="GET"}`), 4200.011)
})

test('several processes add up, also what only one of them has counted', async (t) => {
  const [first, second, third] = [createMetrics(), createMetrics(), createMetrics()]
  observe(first, {}, { method: 'PUT' })
  observe(second, {}, {}, { kind: 'manifest' })
  first.readGauge('connections', () => 3)
  second.readGauge('connections', () => 4)
  third.observeWorkerExit()
  third.observeVerification('wrong')
  const samples = await samplesOf(first, second, third)
  t.is(samples.get('tidegate_requests_total{route="blob",method="GET",code="200"}'), 3)
  t.is(samples.get('tidegate_requests_total{route="blob",method="PUT",code="200"}'), 1)
  t.is(samples.get('tidegate_requests_total{route="manifest",method="GET",code="200"}'), 1)
  const bucket = 'tidegate_request_duration_seconds_bucket{route="blob",method="GET",le="+Inf"}'
  t.is(samples.get(bucket), 3)
  t.is(samples.get('tidegate_open_connections'), 7)
  t.is(samples.get('tidegate_worker_exits_total'), 1)
  t.is(samples.get('tidegate_password_verifications_total{outcome="wrong"}'), 1)
  t.is(samples.get('tidegate_password_verifications_total{outcome="right"}'), 0)
  t.true((samples.get('tidegate_process_cpu_seconds_total') ?? 0) > 0)
  t.true((samples.get('tidegate_process_resident_memory_bytes') ?? 0) > 3 * 10_000_000)
})

test('every metric has its help and its type, once', async (t) => {
  const metrics = createMetrics()
  observe(metrics, {}, { kind: 'manifest' })
  const text = await formatMetrics([await metrics.snapshot(), await metrics.snapshot()])
  const types = text.match(/^# TYPE \S+ (counter|gauge|histogram)$/gm) ?? []
  t.is(types.length, (await metrics.snapshot()).length)
  t.is(new Set(types).size, types.length)
  t.is(text.match(/^# HELP \S+ .+$/gm)?.length, types.length)
  t.true(text.endsWith('\n'))
})

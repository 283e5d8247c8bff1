import { STATUS_CODES } from 'node:http'
import { counter, gauge, histogram, type MetricFamily } from './metric-family.ts'

/** A request whose response has closed. */
export type EndedRequest = {
  /** The kind of its route; undefined when its target means nothing. */
  readonly kind: string | undefined
  readonly method: string
  /** As in the access record: 499 if the client left before its answer was complete. */
  readonly status: number
  readonly ms: number
  /** Bytes of body received from and sent to the client. */
  readonly bytesIn: number
  readonly bytesOut: number
}

export type RequestCounts = {
  began(): void
  ended(request: EndedRequest): void
  families(): MetricFamily[]
}

/** In seconds: from a manifest that is in memory to a layer of gigabytes. */
const durationBounds = [0.005, 0.025, 0.1, 0.5, 2.5, 10, 60, 600]
/** Nobody makes up values of labels, which would fill our memory and Prometheus's: all else is `other`. */
const knownMethods = new Set(['GET', 'HEAD', 'PUT', 'POST', 'PATCH', 'DELETE', 'OPTIONS'])
const clientLeft = 499
const otherStatus = 0

/** The requests of one kind of route and one method. */
type Cell = {
  readonly labels: { readonly route: string; readonly method: string }
  readonly statuses: Map<number, number>
  readonly durations: number[]
  seconds: number
}

/** Counts requests by the kind of their route, their method and their status. */
export function createRequestCounts(): RequestCounts {
  const cells = new Map<string, Map<string, Cell>>()
  let inFlight = 0
  let bytesIn = 0
  let bytesOut = 0

  const cellOf = (route: string, method: string): Cell => {
    const ofRoute = cells.get(route) ?? new Map<string, Cell>()
    const known = ofRoute.get(method)
    if (known !== undefined) return known
    if (method !== 'other' && !knownMethods.has(method)) return cellOf(route, 'other')
    const cell = createCell(route, method)
    cells.set(route, ofRoute.set(method, cell))
    return cell
  }

  return {
    began() {
      inFlight += 1
    },
    ended(request) {
      inFlight -= 1
      bytesIn += request.bytesIn
      bytesOut += request.bytesOut
      count(cellOf(request.kind ?? 'none', request.method), request)
    },
    families: () => [
      ...cellFamilies([...cells.values()].flatMap((ofRoute) => [...ofRoute.values()])),
      counter(
        { name: 'tidegate_request_body_bytes_total', help: 'Bytes of body received from clients.' },
        bytesIn,
      ),
      counter(
        { name: 'tidegate_response_body_bytes_total', help: 'Bytes of body sent to clients.' },
        bytesOut,
      ),
      gauge(
        { name: 'tidegate_requests_in_flight', help: 'Requests whose answer is not complete.' },
        inFlight,
      ),
    ],
  }
}

function createCell(route: string, method: string): Cell {
  const durations = Array.from({ length: durationBounds.length + 1 }, () => 0)
  return { labels: { route, method }, statuses: new Map(), durations, seconds: 0 }
}

function count(cell: Cell, { status, ms }: EndedRequest): void {
  const isNamed = STATUS_CODES[status] !== undefined || status === clientLeft
  const label = isNamed ? status : otherStatus
  cell.statuses.set(label, (cell.statuses.get(label) ?? 0) + 1)
  const seconds = ms / 1000
  cell.seconds += seconds
  let at = 0
  while (seconds > (durationBounds[at] ?? Number.POSITIVE_INFINITY)) at += 1
  cell.durations[at] = (cell.durations[at] ?? 0) + 1
}

function cellFamilies(cells: readonly Cell[]): MetricFamily[] {
  return [
    counter(
      {
        name: 'tidegate_requests_total',
        help: 'Requests answered, by kind of route, method and status; 499: the client left.',
      },
      cells.flatMap(({ labels, statuses }) =>
        Array.from(statuses, ([status, value]) => ({
          value,
          labels: { ...labels, code: status === otherStatus ? 'other' : String(status) },
        })),
      ),
    ),
    histogram(
      {
        name: 'tidegate_request_duration_seconds',
        help: 'Time from the head of a request to the end of its answer.',
      },
      durationBounds,
      cells.map(({ labels, durations, seconds }) => ({ labels, counts: durations, sum: seconds })),
    ),
  ]
}

// Uploads and downloads through a proxy while both sides stall, leave and start anew, for as long as it is
// told to: `npm run soak:proxy -- [seconds] [seed]`. One Tidegate in front of an http upstream, one in
// front of an https upstream. Prints a line a minute, and ends with 1 if any byte was wrong, any answer
// reached another request, anything broke without a cause, or memory, files and connections do not come
// back.
import { mkdtempDisposable, writeFile } from 'node:fs/promises'
import { Agent } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { serverPair } from '../test/support/front.ts'
import { createRandom, type Random } from '../test/support/random.ts'
import { type ServerProcess, startServerProcess } from '../test/support/server-process.ts'
import { type SoakBackend, startSoakBackend } from '../test/support/soak-backend.ts'
import { type Outcome, visit } from '../test/support/soak-client.ts'
import { makePlan, type Plan } from '../test/support/soak-plan.ts'
import { soakOptions } from './soak-options.ts'

/** Requests under way at once on each side. */
const visitors = 16
/** What a process may hold more than after its first minute under the same load, or half of a shorter run. */
const mayGrowBytes = 96 * 1024 ** 2
/** What may stay open a while after the last request. */
const mayStayOpen = 4
/** Time after a restart in which connections that it broke are still found out. */
const settleMs = 2000
const mebibyte = 1024 ** 2

const { length: seconds, seed } = soakOptions({
  name: 'soak:proxy',
  description:
    'Uploads and downloads through a proxy while both sides stall, leave and start anew.',
  unit: 'seconds',
  usual: 600,
})
const startedAt = performance.now()
const endsAt = startedAt + seconds * 1000
const isOver = (): boolean => performance.now() >= endsAt

console.log(`seed ${seed}, ${seconds} seconds`)
await using folder = await mkdtempDisposable(join(tmpdir(), 'tidegate-soak-'))
const sides = [await startSide('http', seed), await startSide('https', seed + 1)]
const reporting = report()
await Promise.all(sides.map(run))
await reporting
const faults = (await Promise.all(sides.map(finish))).flat()
for (const fault of faults) console.log(`WRONG ${fault}`)
console.log(faults.length === 0 ? 'nothing was wrong' : `${faults.length} faults`)
process.exitCode = faults.length === 0 ? 0 : 1

type Side = {
  readonly name: string
  readonly random: Random
  readonly backend: SoakBackend
  readonly front: ServerProcess
  readonly idleFiles: number
  readonly counts: Record<Outcome['kind'], number>
  readonly faults: string[]
  restarts: number
  /** What began before this may break: a connection that died may still be taken for a moment. */
  troubledUntil: number
  /** Resident memory once everything has been used. */
  warmBytes: number
}

async function startSide(scheme: 'http' | 'https', sideSeed: number): Promise<Side> {
  const random = createRandom(sideSeed)
  const backend = await startSoakBackend(scheme, random)
  const file = (name: string): string => join(folder.path, name)
  await writeFile(file('server.crt'), serverPair.cert)
  await writeFile(file('server.key'), serverPair.key)
  await writeFile(file('ca.crt'), serverPair.ca)
  const tls = scheme === 'https' ? `, tls: {ca: ${file('ca.crt')}}` : ''
  await writeFile(
    file(`${scheme}.yml`),
    `version: 0.1
workers: 1
log: {accesslog: {disabled: true}}
http:
  addr: 127.0.0.1:0
  tls: {certificate: ${file('server.crt')}, key: ${file('server.key')}}
  # Not closed while a client is about to use it again.
  timeouts: {keepalive: 1h}
upstream: {url: '${backend.url}'${tls}}
`,
  )
  const front = await startServerProcess(file(`${scheme}.yml`))
  return {
    ...{ name: scheme, random, backend, front, idleFiles: await front.openFiles(), faults: [] },
    ...{ counts: { whole: 0, left: 0, broken: 0, wrong: 0 }, restarts: 0, troubledUntil: 0 },
    warmBytes: Number.POSITIVE_INFINITY,
  }
}

/** Keeps a side busy until the time is over. */
async function run(side: Side): Promise<void> {
  const agent = new Agent({ keepAlive: true, ca: serverPair.ca })
  let next = 0
  const visitor = async (): Promise<void> => {
    while (!isOver()) {
      next += 1
      const plan = makePlan(next, side.random)
      const beganAt = performance.now()
      const { hiccups } = side.backend
      const outcome = await visit(side.front.port, { plan, random: side.random, agent })
      const isExcused = beganAt < side.troubledUntil || hiccups !== side.backend.hiccups
      note(side, { plan, outcome, isExcused })
    }
  }
  await Promise.all([...Array.from({ length: visitors }, visitor), restartAtTimes(side)])
  agent.destroy()
}

type Visited = { readonly plan: Plan; readonly outcome: Outcome; readonly isExcused: boolean }

function note({ counts, faults: found, front }: Side, { plan, outcome, isExcused }: Visited): void {
  counts[outcome.kind] += 1
  if (outcome.kind === 'wrong') found.push(`${outcome.reason}: ${JSON.stringify(plan)}`)
  const hasCause = isExcused || plan.backend.what === 'abort'
  if (outcome.kind === 'broken' && !hasCause) {
    const logged = front.lines.filter(({ requestId }) => outcome.reason.includes(`${requestId}`))
    found.push(`${outcome.reason} without a cause: ${JSON.stringify([plan, ...logged])}`)
  }
}

async function restartAtTimes(side: Side): Promise<void> {
  while (!isOver()) {
    await delay(Math.min(3000 + side.random(12_000), Math.max(0, endsAt - performance.now())))
    side.troubledUntil = Number.POSITIVE_INFINITY
    await side.backend.restart()
    side.troubledUntil = performance.now() + settleMs
    side.restarts += 1
  }
}

async function report(): Promise<void> {
  for (let minute = 1; !isOver(); minute += 1) {
    const lineAt = startedAt + minute * 60_000
    const warmAt = Math.min(lineAt, (startedAt + endsAt) / 2)
    if (minute === 1) {
      await delay(warmAt - performance.now())
      for (const side of sides) side.warmBytes = await side.front.memory()
    }
    await delay(Math.max(0, Math.min(lineAt, endsAt) - performance.now()))
    console.log(`minute ${minute}: ${(await Promise.all(sides.map(lineOf))).join('; ')}`)
  }
}

async function lineOf({ name, counts, restarts, front }: Side): Promise<string> {
  const { whole, left, broken, wrong } = counts
  const memory = Math.round((await front.memory()) / mebibyte)
  return (
    `${name} ${whole} whole, ${left} left, ${broken} broken, ${wrong} wrong, ` +
    `${restarts} restarts, ${memory} MiB, ${await front.openFiles()} files`
  )
}

/** Waits until a side is quiet, and ends it. Returns everything that was wrong with it. */
async function finish(side: Side): Promise<string[]> {
  const { name, front, backend, warmBytes } = side
  const isQuiet = async (): Promise<boolean> =>
    backend.connections === 0 && (await front.openFiles()) <= side.idleFiles + mayStayOpen
  // Idle upstream connections are kept for 15 seconds.
  for (let waited = 0; waited < 30 && !(await isQuiet()); waited += 1) await delay(1000)
  const found = [...side.faults, ...backend.faults]
  if (!(await isQuiet())) {
    const open = await front.openTargets()
    found.push(`${backend.connections} upstream connections are left, and open: ${open}`)
  }
  const grown = (await front.memory()) - warmBytes
  if (grown > mayGrowBytes) found.push(`grew by ${Math.round(grown / mebibyte)} MiB`)
  if ((await front.stop()) !== 0) found.push('it did not stop cleanly')
  await backend.stop()
  return found.map((fault) => `${name}: ${fault}`)
}

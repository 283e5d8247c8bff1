import { fork as forkChild } from 'node:child_process'
import { once } from 'node:events'
import test, { type ExecutionContext } from 'ava'
import { StartupError } from '../../../src/lib/startup-error.ts'
import { openChannel } from '../../../src/workers/channel.ts'
import type { WorkerProcess } from '../../../src/workers/fork.ts'
import { processPort } from '../../../src/workers/process-port.ts'
import type { StartOrder, WorkerHandlers } from '../../../src/workers/protocol.ts'
import { type Supervisor, startSupervisor } from '../../../src/workers/supervisor.ts'
import { until } from '../../support/several-workers.ts'
import { captureLog } from '../auth/captured-log.ts'

const script = new URL('../../support/scripted-worker.ts', import.meta.url).pathname
const pulse = { everyMs: 200, missed: 5 }

/** Starts real processes; the first ones start as `plan` says, all others listen. */
function createPlannedFork(plan: readonly string[]) {
  const forked: (WorkerProcess & { pid: number })[] = []
  const fork = (): WorkerProcess => {
    const id = forked.length + 1
    const child = forkChild(script, [plan[id - 1] ?? 'listens'], { serialization: 'advanced' })
    const leaving = Promise.withResolvers<void>()
    const worker = {
      id,
      pid: Number(child.pid),
      channel: openChannel<WorkerHandlers>(processPort(child), { leaving: leaving.resolve }),
      leaving: leaving.promise,
      exited: once(child, 'close').then(([code, signal]) => ({ code, signal })),
      kill: () => void child.kill('SIGKILL'),
    }
    forked.push(worker)
    return worker
  }
  return { fork, forked }
}

type Plan = { readonly plan?: readonly string[]; readonly startMs?: number }

async function start(t: ExecutionContext, { plan = [], startMs = 60_000 }: Plan, workers = 2) {
  const { log, lines } = captureLog()
  const { fork, forked } = createPlannedFork(plan)
  const order = { workers } as StartOrder // of which a scripted worker reads nothing
  t.teardown(() => {
    for (const worker of forked) worker.kill()
  })
  const starting = startSupervisor({ fork, order, log, onLost() {}, startMs, pulse })
  const kindOf = (text: string) => lines.filter(({ msg }) => msg.includes(text))
  return { starting, forked, kindOf }
}

/** As many are there as were asked for, and take new work. */
const isWhole = (supervisor: Supervisor, workers = 2): boolean =>
  supervisor.isServing() && supervisor.workers().length === workers

test('supervisor: one that hangs is killed, said to hang, and replaced', async (t) => {
  const { starting, forked, kindOf } = await start(t, {})
  const supervisor = await starting
  const [hung] = forked
  process.kill(Number(hung?.pid), 'SIGSTOP')
  await until(() => kindOf('starting another').length > 0)
  await until(() => isWhole(supervisor))
  t.like(kindOf('hangs')[0], { level: 50, worker: 1, pid: hung?.pid })
  t.like(kindOf('starting another'), { length: 1, 0: { worker: 1, signal: 'SIGKILL' } })
  await supervisor.stop(10_000)
  t.is(kindOf('killed').length, 1)
})

test('supervisor: one that leaves is replaced at once, and killed if it hangs meanwhile', async (t) => {
  const { starting, forked, kindOf } = await start(t, {}, 1)
  const supervisor = await starting
  const [leaver] = forked
  process.kill(Number(leaver?.pid), 'SIGWINCH')
  await until(() => isWhole(supervisor, 2))
  process.kill(Number(leaver?.pid), 'SIGSTOP')
  t.like(await leaver?.exited, { signal: 'SIGKILL' })
  await until(() => isWhole(supervisor, 1))
  t.like(kindOf('leaves'), { length: 1, 0: { worker: 1 } })
  t.is(forked.length, 2)
  await supervisor.stop(10_000)
})

test('supervisor: while the only one leaves, and no other listens, none serves', async (t) => {
  const { starting, forked } = await start(t, { plan: ['listens', 'waits'] }, 1)
  const supervisor = await starting
  process.kill(Number(forked[0]?.pid), 'SIGWINCH')
  await until(() => !supervisor.isServing())
  t.is(supervisor.workers().length, 1)
  await supervisor.stop(10_000)
})

test('supervisor: a replacement that cannot start, or never gets there, is replaced until one serves', async (t) => {
  const { starting, forked, kindOf } = await start(
    t,
    { plan: ['listens', 'refuses', 'waits', 'dies'], startMs: 4_000 },
    1,
  )
  const supervisor = await starting
  forked[0]?.kill()
  await until(() => isWhole(supervisor, 1) && forked.length === 5)
  t.like(kindOf('starting another'), {
    length: 4,
    0: { signal: 'SIGKILL' },
    1: { problems: ['the file cannot be read'] },
    2: { worker: 3, signal: 'SIGKILL' },
    3: { worker: 4, code: 70 },
  })
  await supervisor.stop(10_000)
})

test('supervisor: a first one that dies is reported with its own exit, and none is left', async (t) => {
  const { starting, forked } = await start(t, { plan: ['waits', 'dies'] })
  const error = await t.throwsAsync(starting, { instanceOf: StartupError })
  t.regex(String(error?.problems), /ended before it could listen \(code 70\)/)
  const exits = await Promise.all(forked.map(({ exited }) => exited))
  t.like(exits[0], { signal: 'SIGKILL' })
})

test('supervisor: a first one that is killed is no fault of the configuration', async (t) => {
  const { starting, forked } = await start(t, { plan: ['waits'] })
  forked[0]?.kill()
  const error = await t.throwsAsync(starting, { message: /could not start: signal SIGKILL/ })
  t.false(error instanceof StartupError)
})

test('supervisor: what one of the first ones cannot use is the problem, as it said it', async (t) => {
  const { starting } = await start(t, { plan: ['waits', 'refuses'] })
  const error = await t.throwsAsync(starting, { instanceOf: StartupError })
  t.deepEqual(error?.problems, ['the file cannot be read'])
})

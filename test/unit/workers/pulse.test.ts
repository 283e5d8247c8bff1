import { setTimeout as sleep } from 'node:timers/promises'
import test from 'ava'
import type { Channel } from '../../../src/workers/channel.ts'
import type { WorkerHandlers } from '../../../src/workers/protocol.ts'
import { watchPulse } from '../../../src/workers/pulse.ts'

/** A channel of which every question is answered by `answer`. */
function channelTo(answer: () => Promise<void>): Channel<WorkerHandlers> {
  return { ask: answer, tell() {} } as unknown as Channel<WorkerHandlers> // only `ping` is asked
}

test('pulse: who does not answer is noticed once, and asked once', async (t) => {
  let asked = 0
  let silences = 0
  const { promise, resolve } = Promise.withResolvers<void>()
  const channel = channelTo(() => {
    asked += 1
    return new Promise(() => {})
  })
  const onSilent = (): void => {
    silences += 1
    resolve()
  }
  using _ = watchPulse(channel, { everyMs: 5, missed: 3, onSilent })
  await promise
  await sleep(50)
  t.deepEqual([asked, silences], [1, 1])
})

test('pulse: who answers late, but answers, is left alone', async (t) => {
  let answered = 0
  const channel = channelTo(async () => {
    await sleep(12)
    answered += 1
  })
  using _ = watchPulse(channel, { everyMs: 10, missed: 50, onSilent: () => t.fail() })
  while (answered < 8) await sleep(10)
  t.pass()
})

test('pulse: a pause of this process is one beat, however long it is', async (t) => {
  let answered = 0
  let pause = 150
  const channel = channelTo(async () => {
    await sleep(1)
    answered += 1
  })
  using _ = watchPulse(channel, { everyMs: 10, missed: 3, onSilent: () => t.fail() })
  while (answered < 8) {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, pause)
    pause = pause === 0 ? 150 : 0
    await sleep(20)
  }
  t.pass()
})

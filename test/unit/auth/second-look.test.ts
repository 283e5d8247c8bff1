import test from 'ava'
import { createSecondLook } from '../../../src/auth/second-look.ts'
import type { FileState } from '../../../src/lib/file-watch.ts'

const bytes = Buffer.from('# nobody\n')
const other = { bytes: Buffer.from('alice:x\n') }
const missing = { error: Object.assign(new Error('gone'), { code: 'ENOENT' }) }

// The timers that are tested do not hold the process.
const held = setInterval(() => {}, 1000)
test.after(() => clearInterval(held))

test('a file that is missing or holds something else is looked at until it is as it was', async (t) => {
  const states: FileState[] = [missing, other, { bytes: Buffer.from(bytes) }, other]
  const secondLook = createSecondLook({ look: async () => states.shift(), intervalMs: 1 })
  await new Promise<void>((resolve) => secondLook.begin(bytes, resolve))
  t.deepEqual(states, [other])
})

test('a look under way when it is cancelled says nothing, and one begun after it counts', async (t) => {
  const first = Promise.withResolvers<FileState>()
  const firstBegun = Promise.withResolvers<void>()
  const answers = [first.promise, Promise.resolve({ bytes })]
  const look = (): Promise<FileState | undefined> => {
    firstBegun.resolve()
    return answers.shift() ?? Promise.resolve(missing)
  }
  const secondLook = createSecondLook({ look, intervalMs: 1 })
  secondLook.begin(bytes, () => t.fail('cancelled'))
  await firstBegun.promise
  secondLook.cancel()
  first.resolve({ bytes })
  await new Promise<void>((resolve) => secondLook.begin(Buffer.from(bytes), resolve))
  t.deepEqual(answers, [])
})

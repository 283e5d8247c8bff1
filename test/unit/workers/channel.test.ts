import { fork } from 'node:child_process'
import { once } from 'node:events'
import { MessageChannel } from 'node:worker_threads'
import test from 'ava'
import { RegistryError } from '../../../src/lib/errors.ts'
import { StartupError } from '../../../src/lib/startup-error.ts'
import { type Handlers, openChannel, type Port } from '../../../src/workers/channel.ts'
import { processPort } from '../../../src/workers/process-port.ts'

/** Both ends of a channel; the far one answers with `handlers`. */
function openPair<Theirs extends Handlers>(handlers: Theirs) {
  const { port1, port2 } = new MessageChannel()
  const portOf = (port: typeof port1): Port => ({
    send(message, onSent) {
      port.postMessage(message)
      onSent(null)
    },
    onMessage: (listener) => void port.on('message', listener),
    onGone: (listener) => void port.once('close', listener),
  })
  openChannel(portOf(port2), handlers)
  return { channel: openChannel<Theirs>(portOf(port1), {}), far: port2 }
}

test('channel: a question whose other side goes away is UNAVAILABLE, and so is every later one', async (t) => {
  const { channel, far } = openPair({ wait: () => new Promise<void>(() => {}) })
  const asked = channel.ask('wait')
  far.close()
  await t.throwsAsync(asked, { instanceOf: RegistryError, code: 'UNAVAILABLE' })
  await t.throwsAsync(channel.ask('wait'), { code: 'UNAVAILABLE' })
  t.notThrows(() => channel.tell('wait'))
})

test('channel: an error of ours arrives as what it was', async (t) => {
  const headers = { 'retry-after': '1' }
  const { channel, far } = openPair({
    refuse() {
      throw new RegistryError('TOOMANYREQUESTS', { reason: 'busy' }, { headers })
    },
    async start() {
      throw new StartupError(['one', 'two'])
    },
    fail() {
      throw new TypeError('a fault')
    },
  })
  const refused = await t.throwsAsync(channel.ask('refuse'), { instanceOf: RegistryError })
  t.like(refused, { code: 'TOOMANYREQUESTS', status: 429, detail: { reason: 'busy' }, headers })
  const unstarted = await t.throwsAsync(channel.ask('start'), { instanceOf: StartupError })
  t.deepEqual(unstarted?.problems, ['one', 'two'])
  await t.throwsAsync(channel.ask('fail'), { message: /TypeError: a fault/ })
  far.close()
})

test('channel: answers find their questions in whatever order they come', async (t) => {
  const first = Promise.withResolvers<string>()
  const { channel, far } = openPair({
    slow: () => first.promise,
    quick: (name: string) => name,
  })
  const slow = channel.ask('slow')
  t.is(await channel.ask('quick', 'second'), 'second')
  first.resolve('first')
  t.is(await slow, 'first')
  far.close()
})

test('channel: what is told is carried out, and messages of others are left alone', async (t) => {
  const told = Promise.withResolvers<number>()
  const { channel, far } = openPair({ note: (value: number) => told.resolve(value) })
  for (const stray of ['text', null, { 'watch:import': [] }]) far.postMessage(stray)
  channel.tell('note', 7)
  t.is(await told.promise, 7)
  far.close()
})

test('channel: a question to a process that has ended is UNAVAILABLE, not a fault', async (t) => {
  const child = fork('-', { execArgv: ['-e', ''], silent: true })
  const channel = openChannel<{ greet(): void }>(processPort(child), {})
  await once(child, 'exit')
  await t.throwsAsync(channel.ask('greet'), { code: 'UNAVAILABLE' })
})

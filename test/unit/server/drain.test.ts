import type { ServerResponse } from 'node:http'
import test from 'ava'
import { until } from '../relay/support.ts'
import { connect, makeTlsOptions, startListener } from './support.ts'

const get = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'

/** A handler whose answers the test gives, in the order of the requests. */
function createWaiting() {
  const waiting: ServerResponse[] = []
  const onRequest = (_: unknown, res: ServerResponse) => void waiting.push(res)
  return { waiting, onRequest }
}

for (const [kind, tls] of [
  ['plain', undefined],
  ['TLS', makeTlsOptions()],
] as const) {
  const options = kind === 'plain' ? undefined : { rejectUnauthorized: false }

  test(`drain, ${kind}: idle connections close, requests in flight finish, nobody new comes in`, async (t) => {
    const { waiting, onRequest } = createWaiting()
    await using subject = await startListener({ tls: await tls, onRequest })
    const idle = await connect(subject.port, options)
    idle.socket.write(get)
    await until(() => waiting.length === 1)
    waiting[0]?.end('done')
    await until(() => idle.text.endsWith('done'))
    const busy = await connect(subject.port, options)
    busy.socket.write(get)
    await until(() => waiting.length === 2)
    const drained = subject.listener.drain(60_000)
    await until(() => idle.closed)
    t.false(busy.closed)
    await t.throwsAsync(connect(subject.port, options), { message: /ECONNREFUSED/ })
    waiting[1]?.end('finished')
    t.is(await drained, 0)
    await until(() => busy.closed)
    t.true(busy.text.endsWith('finished'))
  })

  test(`drain, ${kind}: what is not done by the deadline is cut off and counted`, async (t) => {
    const { waiting, onRequest } = createWaiting()
    await using subject = await startListener({ tls: await tls, onRequest })
    const clients = [await connect(subject.port, options), await connect(subject.port, options)]
    for (const { socket } of clients) socket.write(get)
    await until(() => waiting.length === 2)
    t.is(await subject.listener.drain(50), 2)
    await until(() => clients.every(({ closed }) => closed))
    t.deepEqual(
      clients.map(({ text }) => text),
      ['', ''],
    )
  })

  test(`drain, ${kind}: a connection on which nothing was ever asked does not hold it up`, async (t) => {
    await using subject = await startListener({ tls: await tls })
    const silent = await connect(subject.port)
    const shaken = await connect(subject.port, options)
    const asked = await connect(subject.port, options)
    asked.socket.write(get)
    await until(() => asked.text.endsWith('ok'))
    // Far below the time for headers, far above what closing takes.
    const cutOff = await subject.listener.drain(5000)
    t.is(cutOff, 0)
    await until(() => silent.closed && shaken.closed && asked.closed)
  })
}

test('drain: a listener without connections is closed at once, and can be drained again', async (t) => {
  await using subject = await startListener()
  t.is(await subject.listener.drain(60_000), 0)
  t.is(await subject.listener.drain(60_000), 0)
})

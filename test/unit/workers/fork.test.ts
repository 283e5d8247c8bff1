import cluster from 'node:cluster'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import test, { type ExecutionContext } from 'ava'
import { createForker } from '../../../src/workers/fork.ts'

/** A process as the primary has it, of which nobody asked anything yet. */
function start(t: ExecutionContext) {
  const handlers = { verify: async () => false }
  const worker = createForker({ writeLines() {}, handlers })()
  t.teardown(worker.kill)
  const child = cluster.workers?.[worker.id]?.process
  if (child === undefined) throw new Error('it has just been started')
  return { ...worker, child }
}

/** Both ends of a connection, and what `cluster` holds of the accepted one. */
async function accept(t: ExecutionContext) {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const accepted = once(server, 'connection')
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1')
  const [socket] = (await accepted) as [Socket & { _handle: { close(): void } }]
  server.close()
  t.teardown(() => client.destroy())
  return { client, socket, handle: socket._handle }
}

/** Hands a connection over as `cluster` does; no worker that has not started takes it. */
const newConnection = { cmd: 'NODE_CLUSTER', act: 'newconn', key: 'nobody listens', seq: -1 }

test('fork: a process to which something could not be sent lives until it ends', async (t) => {
  const { child, exited, kill } = start(t)
  const { handle } = await accept(t)
  handle.close()
  const failed = once(child, 'error')
  child.send(newConnection, handle as unknown as Socket)
  await t.throwsAsync(
    Promise.race([
      failed.then(([error]) => {
        throw error
      }),
      exited,
    ]),
    { code: 'EBADF' },
  )
  t.is(await Promise.race([exited, sleep(300, 'alive')]), 'alive')
  kill()
  t.deepEqual(await exited, { code: null, signal: 'SIGKILL' })
})

test('fork: a connection that a process did not take before it dies is closed', async (t) => {
  const { child, exited, kill } = start(t)
  const { client, handle } = await accept(t)
  const closed = once(client.resume(), 'close')
  process.kill(Number(child.pid), 'SIGSTOP')
  child.send(newConnection, handle as unknown as Socket)
  kill()
  await exited
  await closed
  t.pass()
})

test('fork: a connection that it would not take is for another, and stays open when it dies', async (t) => {
  const { child, exited, kill } = start(t)
  const { client, socket, handle } = await accept(t)
  const refused = new Promise<unknown>((resolve) => {
    child.on('internalMessage', (message: { ack?: number }) => {
      if (message.ack === newConnection.seq) resolve(message)
    })
  })
  child.send(newConnection, handle as unknown as Socket)
  t.like(await refused, { accepted: false })
  kill()
  await exited
  const received = once(client, 'data')
  socket.write('still there')
  t.is(String((await received)[0]), 'still there')
})

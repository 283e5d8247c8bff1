import test from 'ava'
import { RegistryError } from '../../../src/lib/errors.ts'
import type { Connection } from '../../../src/relay/connection.ts'
import { createPool, type Pool } from '../../../src/relay/pool.ts'
import { answerHeads, exchange, headOf, settled, startRawServer, until } from './support.ts'

const sized = 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx'
const options = { connectTimeoutMs: 5000 }

/** Runs one exchange, after which the connection is free again. */
async function use(connection: Connection): Promise<Connection> {
  const answer = await settled(exchange(connection, headOf()))
  if (answer.error !== undefined) throw answer.error
  return connection
}

async function openSeveral(pool: Pool, count: number): Promise<Connection[]> {
  const connections = await Promise.all(Array.from({ length: count }, () => pool.acquire('fresh')))
  for (const connection of connections) await use(connection)
  return connections
}

/** A clock that stands still until it is moved. */
function createClock() {
  const clock = { ms: 1_000_000, now: () => clock.ms }
  return clock
}

test('pool: an upstream that is not there is UPSTREAM_UNREACHABLE, and found when it is back', async (t) => {
  const server = await startRawServer(answerHeads(sized))
  await server[Symbol.asyncDispose]()
  const pool = createPool(server.target, options)
  const error = await t.throwsAsync(async () => await pool.acquire('any'), {
    instanceOf: RegistryError,
  })
  t.is(error?.code, 'UPSTREAM_UNREACHABLE')
  pool.close()
})

test('pool: a connection is used again, the one that was free last first', async (t) => {
  await using server = await startRawServer(answerHeads(sized))
  const pool = createPool(server.target, options)
  const [first, second, third] = await openSeveral(pool, 3)
  const again = [await pool.acquire('any'), await pool.acquire('any'), await pool.acquire('any')]
  t.deepEqual(
    again.map((connection) => [first, second, third].indexOf(connection)),
    [2, 1, 0],
  )
  const fourth = await pool.acquire('any')
  t.false([first, second, third].includes(fourth))
  t.is(server.sockets.length, 4)
  for (const connection of [first, second, third, fourth]) connection?.destroy()
  pool.close()
})

test('pool: a connection in use is given to nobody else', async (t) => {
  await using server = await startRawServer(() => {})
  const pool = createPool(server.target, options)
  const connections = await Promise.all([1, 2, 3].map(() => pool.acquire('any')))
  t.is(new Set(connections).size, 3)
  for (const connection of connections) connection.destroy()
  pool.close()
})

test('pool: fresh is a new connection though another is free', async (t) => {
  await using server = await startRawServer(answerHeads(sized))
  const pool = createPool(server.target, options)
  const [first] = await openSeveral(pool, 1)
  const fresh = await pool.acquire('fresh')
  t.not(fresh, first)
  t.false(fresh.reused)
  fresh.destroy()
  pool.close()
})

test('pool: careful is a connection that was in use a moment ago, or a new one', async (t) => {
  await using server = await startRawServer(answerHeads(sized))
  const clock = createClock()
  const pool = createPool(server.target, { ...options, now: clock.now })
  const [first] = await openSeveral(pool, 1)
  clock.ms += 1000
  t.true((await pool.acquire('careful')) === first)
  if (first !== undefined) await use(first)
  clock.ms += 1001
  const careful = await pool.acquire('careful')
  t.not(careful, first)
  t.true((await pool.acquire('any')) === first)
  careful.destroy()
  first?.destroy()
  pool.close()
})

test('pool: what was free for long is closed, not used', async (t) => {
  await using server = await startRawServer(answerHeads(sized))
  const clock = createClock()
  const pool = createPool(server.target, { ...options, now: clock.now })
  const [first] = await openSeveral(pool, 1)
  clock.ms += 15_001
  const second = await pool.acquire('any')
  t.not(second, first)
  t.true(first?.destroyed)
  second.destroy()
  pool.close()
})

for (const [what, answer] of [
  ['delimited by its end', 'HTTP/1.1 200 OK\r\n\r\nx'],
  ['with Connection: close', 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx'],
] as const) {
  test(`pool: the connection of an answer ${what} is never used again`, async (t) => {
    await using server = await startRawServer((socket) => {
      socket.once('data', () => socket.end(answer))
    })
    const pool = createPool(server.target, options)
    const first = await use(await pool.acquire('any'))
    const second = await use(await pool.acquire('any'))
    t.not(first, second)
    t.is(server.sockets.length, 2)
    pool.close()
  })
}

for (const [what, act] of [
  ['closed', (socket: import('node:net').Socket) => socket.end()],
  ['reset', (socket: import('node:net').Socket) => socket.resetAndDestroy()],
  ['sent something on', (socket: import('node:net').Socket) => socket.write(sized)],
] as const) {
  test(`pool: a free connection that the upstream ${what} is not given out, not even at once`, async (t) => {
    await using server = await startRawServer(answerHeads(sized))
    const pool = createPool(server.target, options)
    const [first] = await openSeveral(pool, 1)
    const [socket] = server.sockets
    if (socket !== undefined) act(socket)
    // The very turn in which it is known; the event that tells the pool comes later.
    await until(() => first?.destroyed === true)
    const second = await pool.acquire('careful')
    t.not(second, first)
    second.destroy()
    pool.close()
  })
}

test('pool: a connection that its user destroyed as it became free is not given out', async (t) => {
  await using server = await startRawServer(answerHeads(sized))
  const pool = createPool(server.target, options)
  const [first] = await openSeveral(pool, 1)
  first?.destroy()
  const second = await pool.acquire('any')
  t.not(second, first)
  t.is((await settled(exchange(second, headOf()))).error, undefined)
  pool.close()
})

test('pool: closing it closes what is free now, and the rest as it becomes free', async (t) => {
  await using server = await startRawServer(answerHeads(sized))
  const pool = createPool(server.target, options)
  const [free] = await openSeveral(pool, 1)
  const busy = await pool.acquire('fresh')
  pool.close()
  t.true(free?.destroyed)
  t.false(busy.destroyed)
  await use(busy)
  t.true(busy.destroyed)
})

test('pool: after a burst, a bounded number of free connections is kept', async (t) => {
  await using server = await startRawServer(answerHeads(sized))
  const pool = createPool(server.target, options)
  const connections = await openSeveral(pool, 70)
  t.is(connections.filter(({ destroyed }) => !destroyed).length, 64)
  pool.close()
  t.true(connections.every(({ destroyed }) => destroyed))
})

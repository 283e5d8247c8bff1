import { once } from 'node:events'
import { mkdtempDisposable, writeFile } from 'node:fs/promises'
import { Agent } from 'node:https'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { connect } from 'node:tls'
import test from 'ava'
import { startRawBackend } from '../support/backends.ts'
import { serverPair, startFront } from '../support/front.ts'
import { type FrontProcess, startFrontProcess } from '../support/front-process.ts'
import { createRandom, type Random } from '../support/random.ts'
import { startSoakBackend } from '../support/soak-backend.ts'
import { visit as visitAsPlanned } from '../support/soak-client.ts'
import { makePlan } from '../support/soak-plan.ts'

/** Answers that name their request, most of them broken in one way or another. */
function misbehave(socket: Socket, random: Random): void {
  socket.on('data', (bytes) => {
    const id = /x-id: (\w+)/i.exec(bytes.toString('latin1'))?.[1]
    if (id === undefined) return
    const head = `HTTP/1.1 200 OK\r\nX-Id: ${id}\r\n`
    const body = `[${id}]`.repeat(random(3) === 0 ? 50_000 : random(300) + 1)
    const sized = `${head}Content-Length: ${body.length}\r\n\r\n${body}`
    const acts = [
      () => socket.destroy(),
      () => socket.resetAndDestroy(),
      () => socket.write(sized.slice(0, -1), () => socket.resetAndDestroy()),
      () => socket.write('garbage\r\n\r\n'),
      () => socket.end(`${head}\r\n${body}`),
      () => socket.write(`${head}Content-Length: 2\r\n\r\nokEXTRA`),
      () => socket.write(`HTTP/1.1 413 No\r\nX-Id: ${id}\r\nContent-Length: 2\r\n\r\nno`),
      () =>
        socket.write(
          `${head}Transfer-Encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`,
        ),
      () => socket.write(sized),
      () => socket.write(sized),
    ]
    acts[random(acts.length)]?.()
  })
}

/** One connection that asks something and leaves in some way. Returns what it received. */
async function visit({ port, ca }: FrontProcess, id: string, random: Random): Promise<string> {
  const socket = connect({ port, ca, host: '127.0.0.1', servername: 'localhost' })
  let received = ''
  socket
    .on('error', () => {})
    .on('data', (bytes) => {
      received += bytes.toString('latin1')
    })
  if (random(8) > 0)
    await Promise.race([once(socket, 'secureConnect'), delay(1000)]).catch(() => {})
  const fields = `Host: h\r\nX-Id: ${id}\r\n`
  const get = `GET /v2/a/blobs/sha256:${'a'.repeat(64)} HTTP/1.1\r\n${fields}\r\n`
  const patch = `PATCH /v2/a/blobs/uploads/1 HTTP/1.1\r\n${fields}`
  const requests = [
    get,
    get.repeat(3),
    get.repeat(30),
    `${get}GARBAGE\r\n\r\n`,
    `${get}CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n`,
    `${patch}Content-Length: 200000\r\n\r\n${'u'.repeat(random(200_001))}`,
    `${patch}Transfer-Encoding: chunked\r\n\r\n1000\r\n${'u'.repeat(4096)}\r\n${random(2) === 0 ? '0\r\n\r\n' : 'junk\r\n'}`,
    `${patch}Expect: 100-continue\r\nContent-Length: 5\r\n\r\n`,
  ]
  socket.write(requests[random(requests.length)] ?? '')
  if (random(5) === 0) socket.pause()
  await delay(random(60))
  if (random(2) === 0) socket.end()
  else socket.destroy()
  await Promise.race([once(socket, 'close'), delay(50)]).catch(() => {})
  socket.destroy()
  return received
}

test.serial(
  'chaos: whatever breaks when, no answer is mixed up, nothing stays open, and it stops at once',
  async (t) => {
    const random = createRandom(2049)
    await using backend = await startRawBackend((socket) => misbehave(socket, random))
    const limits = 'log: {accesslog: {disabled: true}}\n'
    await using front = await startFrontProcess(backend.url, limits)
    const before = await front.openFiles()
    let next = 0
    const visitor = async (): Promise<void> => {
      while (next < 600) {
        next += 1
        const id = `q${next}z`
        const received = await visit(front, id, random)
        const others = received.match(/(?<=X-Id: |\[)q\d+z/g)?.filter((seen) => seen !== id)
        t.deepEqual(others ?? [], [])
      }
    }
    await Promise.all(Array.from({ length: 6 }, visitor))
    // What lingers does so for a second or two; kept upstream connections are closed by the backend.
    for (let wait = 0; (await front.openFiles()) > before + 64 && wait < 100; wait += 1)
      await delay(100)
    t.true((await front.openFiles()) <= before + 64)
    t.is(await front.stop(), 0)
  },
)

// The same for longer, with restarts: scripts/soak-proxy.ts.
for (const scheme of ['http', 'https'] as const) {
  test.serial(
    `chaos: with an ${scheme} upstream, whoever stalls or leaves when, what is whole is exact`,
    async (t) => {
      const random = createRandom(77)
      const backend = await startSoakBackend(scheme, random)
      await using folder = await mkdtempDisposable(join(tmpdir(), 'tidegate-'))
      await writeFile(join(folder.path, 'ca.crt'), serverPair.ca)
      const trust = scheme === 'https' && { 'upstream.tls': { ca: join(folder.path, 'ca.crt') } }
      await using front = await startFront(backend.url, { ...trust })
      const agent = new Agent({ keepAlive: true, ca: serverPair.ca })
      t.teardown(async () => {
        agent.destroy()
        await backend.stop()
      })
      const seen = { whole: 0, left: 0, broken: 0, wrong: 0 }
      let next = 0
      const visitor = async (): Promise<void> => {
        while (next < 400) {
          next += 1
          const { hiccups } = backend
          const plan = makePlan(next, random)
          const outcome = await visitAsPlanned(front.port, { plan, random, agent })
          seen[outcome.kind] += 1
          const mayBreak = plan.backend.what === 'abort' || hiccups !== backend.hiccups
          const isFine = outcome.kind === 'broken' ? mayBreak : outcome.kind !== 'wrong'
          t.true(isFine, JSON.stringify([outcome, plan]))
        }
      }
      await Promise.all(Array.from({ length: 12 }, visitor))
      t.true(seen.whole > 200, JSON.stringify(seen))
      t.deepEqual(backend.faults, [])
    },
  )
}

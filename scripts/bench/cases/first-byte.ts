import { once } from 'node:events'
import { createServer } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { plainUrlOf } from '../backend.ts'
import type { Case } from '../case.ts'
import { openConnection } from '../connections.ts'
import { startNginx } from '../fronts/nginx.ts'
import { startTidegate } from '../fronts/tidegate.ts'
import type { Server, Workspace } from '../workspace.ts'

const piece = Buffer.alloc(64 * 1024)
const pieces = 64
const waitMs = 200
const figure = 'KiB sent'

/** A client that waits after each 64 KiB for the upstream to see anything of its body. */
export const firstByte: Case = {
  name: 'first-byte',
  title: `Sent by the client when the upstream sees the first byte of a ${(pieces * piece.length) / 1024} KiB body`,
  programs: ['nginx'],
  goals: [
    {
      what: 'first body byte at the upstream',
      ...{ figure, of: 'tidegate', target: 1024, better: 'lower' },
    },
  ],
  async run({ workspace, alternate }) {
    await using upstream = await startWatchingUpstream()
    const fronts = [
      await startTidegate(workspace, { upstream: upstream.url }),
      await startNginx(workspace, { upstream: upstream.url }),
      await startNginx(workspace, {
        ...{ name: 'nginx as in articles', style: 'articles', upstream: upstream.url },
      }),
    ]
    return await alternate(fronts, async (front) => {
      upstream.reset()
      return { [figure]: await sendUntil(workspace, front, () => upstream.hasBody()) }
    })
  },
}

async function sendUntil(
  workspace: Workspace,
  front: Server,
  isSeen: () => boolean,
): Promise<number> {
  const socket = await openConnection(workspace, front)
  const length = pieces * piece.length
  socket.write(
    `PATCH /v2/a/blobs/uploads/1 HTTP/1.1\r\nHost: a\r\nContent-Length: ${length}\r\n\r\n`,
  )
  let sent = 0
  while (!isSeen() && sent < length) {
    socket.write(piece)
    sent += piece.length
    const end = performance.now() + waitMs
    while (!isSeen() && performance.now() < end) await delay(1)
  }
  socket.destroy()
  // What is still under way must not be taken for the next front's.
  await delay(waitMs)
  return sent / 1024
}

/** An upstream that never answers, and tells whether it has seen a body since `reset`. */
async function startWatchingUpstream() {
  let isSeen = false
  let turn = 0
  const server = createServer((socket) => {
    const own = turn
    let head = ''
    socket.on('error', () => {})
    socket.on('data', (chunk) => {
      if (own !== turn) return
      if (head.includes('\r\n\r\n')) isSeen = true
      else head += chunk.toString('latin1')
      isSeen ||= head.length > head.indexOf('\r\n\r\n') + 4 && head.includes('\r\n\r\n')
    })
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new TypeError('no TCP address')
  return {
    url: plainUrlOf(address),
    hasBody: () => isSeen,
    reset() {
      isSeen = false
      turn += 1
    },
    async [Symbol.asyncDispose]() {
      server.close()
    },
  }
}

import http from 'node:http'
import test from 'ava'
import fc from 'fast-check'
import { openConnection } from '../../../src/relay/connection.ts'
import { createResponseReader } from '../../../src/relay/response-reader.ts'
import { damagedResponse, type GeneratedResponse, validResponse } from './generated-responses.ts'
import {
  bodyOf,
  exchange,
  headOf,
  idle,
  type RawServer,
  settled,
  startRawServer,
} from './support.ts'

/*
 * Node's own HTTP client is the oracle: whatever we accept, it accepts, with the same status, headers
 * and content. The other way round is not asked: we are stricter on purpose. We refuse, and it takes:
 * a coding before chunked, a status above 599 or below 100, HTTP/0.9 and HTTP/2.0 status lines, more
 * than one Transfer-Encoding, 14 and more digits of chunk size, and protocol switches. No registry
 * sends any of them, and each has been the second reading in somebody's smuggled response.
 * Bytes after the end of an answer are no part of the comparison: we deliver the answer, which is whole,
 * and never use the connection again, where Node may drop both. So Node gets the bytes that we took for
 * the answer: it must find them to be exactly one, no byte more or less.
 */

type Reading =
  | { readonly accepted: false; readonly reason: string }
  | {
      readonly accepted: true
      readonly status: number
      readonly rawHeaders: readonly string[]
      readonly body: string
    }

async function readWithNode({ port }: RawServer, method: string): Promise<Reading> {
  const { promise, resolve } = Promise.withResolvers<Reading>()
  const refuse = (reason: string) => resolve({ accepted: false, reason })
  const request = http.request({ host: '127.0.0.1', port, method, path: '/', agent: false })
  request.on('upgrade', (_, socket) => {
    socket.destroy()
    refuse('upgrade')
  })
  request.on('error', (error) => refuse(error.message))
  request.on('close', () => refuse('closed'))
  request.on('response', (response) => {
    const pieces: Buffer[] = []
    response.on('data', (piece: Buffer) => pieces.push(piece))
    response.on('error', (error) => refuse(error.message))
    response.on('end', () => {
      if (!response.complete) return refuse('incomplete')
      const { statusCode: status = 0, rawHeaders } = response
      resolve({
        accepted: true,
        status,
        rawHeaders,
        body: Buffer.concat(pieces).toString('latin1'),
      })
    })
  })
  request.end()
  const reading = await promise
  request.destroy()
  return reading
}

async function readWithUs({ target }: RawServer, method: string): Promise<Reading> {
  const connection = await openConnection(target, idle, 5000)
  const answer = await settled(exchange(connection, headOf({ method })))
  connection.destroy()
  if (answer.head === undefined || answer.error !== undefined) {
    return { accepted: false, reason: JSON.stringify(answer.error?.detail) }
  }
  const { status, rawHeaders } = answer.head
  return { accepted: true, status, rawHeaders, body: bodyOf(answer).toString('latin1') }
}

/** The bytes that our parser takes for the answer. */
function answerIn({ method, bytes }: GeneratedResponse): Buffer {
  const reader = createResponseReader()
  let ended = false
  const onEnd = () => {
    ended = true
  }
  reader.expect(method, { onHead() {}, onPiece() {}, onEnd })
  let used = 0
  while (!ended && used < bytes.length) {
    reader.read(bytes.subarray(used, used + 1))
    used += 1
  }
  return bytes.subarray(0, used)
}

/** Serves the response in `current` to every request, then closes. */
async function startSubject(): Promise<RawServer & { current: Buffer }> {
  const subject = { current: Buffer.alloc(0) }
  const server = await startRawServer((socket) => {
    socket.once('data', () => socket.end(subject.current))
  })
  return Object.assign(subject, server)
}

const numRuns = Number(process.env['FUZZ_RUNS'] ?? 300)

test('differential: what a well-behaved server sends, we and Node read alike', async (t) => {
  await using server = await startSubject()
  await fc.assert(
    fc.asyncProperty(validResponse, async (response) => {
      server.current = response.bytes
      const ours = await readWithUs(server, response.method)
      server.current = answerIn(response)
      const node = await readWithNode(server, response.method)
      t.true(ours.accepted)
      t.deepEqual(ours, node)
    }),
    { numRuns },
  )
})

test('differential: what we accept, Node accepts and reads alike', async (t) => {
  await using server = await startSubject()
  let accepted = 0
  await fc.assert(
    fc.asyncProperty(damagedResponse, async (response) => {
      server.current = response.bytes
      const ours = await readWithUs(server, response.method)
      if (!ours.accepted) return
      accepted += 1
      server.current = answerIn(response)
      const node = await readWithNode(server, response.method)
      t.deepEqual(ours, node, JSON.stringify(server.current.toString('latin1')))
    }),
    { numRuns: numRuns * 3 },
  )
  t.true(accepted > numRuns / 10, 'the damage leaves enough to compare')
})

import type { ClientRequest, IncomingMessage } from 'node:http'
import { type Agent, request } from 'node:https'
import type { Writable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import type { Random } from './random.ts'
import { contentAt, isContentAt } from './soak-content.ts'
import { type Plan, stallMs } from './soak-plan.ts'

export type Outcome =
  /** It ran to its end and was exact. */
  | { readonly kind: 'whole' }
  /** The client left, as planned. */
  | { readonly kind: 'left' }
  /** It ended early, or with an error of the front. */
  | { readonly kind: 'broken'; readonly reason: string }
  | { readonly kind: 'wrong'; readonly reason: string }

type Visit = { readonly plan: Plan; readonly random: Random; readonly agent: Agent }

/** Makes the planned request through the front and compares every byte of what comes. */
export async function visit(port: number, { plan, random, agent }: Visit): Promise<Outcome> {
  const { id, kind, length, framing } = plan
  const headers: Record<string, string | number> = { 'X-Plan': JSON.stringify(plan) }
  if (kind === 'upload' && framing === 'sized') headers['Content-Length'] = length
  const place = { port, host: 'localhost', family: 4, agent, headers }
  const path =
    kind === 'upload'
      ? `/v2/soak/blobs/uploads/${id}`
      : `/v2/soak/blobs/sha256:${String(id).padStart(64, '0')}`
  const req = request({ ...place, path, method: kind === 'upload' ? 'PATCH' : 'GET' })
  const answered = answerTo(req)
  const sending = kind === 'upload' ? upload(req, plan, random) : void req.end()
  try {
    return await judge(await answered, plan)
  } catch (error) {
    return isLeft(req) ? { kind: 'left' } : { kind: 'broken', reason: String(error) }
  } finally {
    await sending
  }
}

/** Rejects when there will be none. */
async function answerTo(req: ClientRequest): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
  req.on('response', resolve).on('error', reject)
  req.on('close', () => reject(new Error('closed without an answer')))
  return await promise
}

/** Requests that were destroyed as planned. */
const left = new WeakSet<ClientRequest>()
const isLeft = (req: ClientRequest): boolean => left.has(req)

function leave(req: ClientRequest): void {
  left.add(req)
  req.destroy()
}

async function upload(req: ClientRequest, plan: Plan, random: Random): Promise<void> {
  const { id, length, client } = plan
  let isActed = client.what === 'nothing'
  for (let sent = 0; sent < length && !req.closed; ) {
    if (!isActed && sent >= client.at) {
      isActed = true
      if (client.what === 'stall') await delay(stallMs)
      if (client.what === 'abort') return leave(req)
    }
    const piece = contentAt(id, sent, Math.min(length - sent, 1 + random(200_000)))
    sent += piece.length
    if (!req.write(piece)) await drained(req)
  }
  req.end()
}

/** Resolves when more can be written, or nothing can any more. */
export async function drained(stream: Writable): Promise<void> {
  if (stream.closed) return
  const { promise, resolve } = Promise.withResolvers<void>()
  stream.once('drain', resolve).once('close', resolve)
  await promise
  stream.off('drain', resolve).off('close', resolve)
}

/** Reads an answer to its end. Rejects if it breaks. */
async function judge(res: IncomingMessage, plan: Plan): Promise<Outcome> {
  const { id, kind, backend } = plan
  const status = res.statusCode ?? 0
  if (status >= 500) {
    return { kind: 'broken', reason: `${status} ${await text(res)}` }
  }
  if (res.headers['x-id'] !== String(id)) {
    return { kind: 'wrong', reason: `${id} got the answer of ${res.headers['x-id']}, ${status}` }
  }
  if (kind === 'download') return await compare(res, plan)
  for await (const _ of res);
  if (status === 413 && backend.what === 'refuse') return { kind: 'whole' }
  return status === 202 ? { kind: 'whole' } : { kind: 'wrong', reason: `${id}: status ${status}` }
}

async function compare(res: IncomingMessage, plan: Plan): Promise<Outcome> {
  const { id, from, length, framing, client } = plan
  let received = 0
  let isActed = client.what === 'nothing'
  for await (const chunk of res) {
    if (!isContentAt(id, from + received, chunk)) {
      return { kind: 'wrong', reason: `download ${id}: wrong near ${received}` }
    }
    received += chunk.length
    if (isActed || received < client.at) continue
    isActed = true
    if (client.what === 'stall') await delay(stallMs)
    if (client.what === 'abort') return { kind: 'left' }
  }
  if (received === length) return { kind: 'whole' }
  // Where a body ends that the end of the connection ends, nobody can tell.
  if (framing === 'until-close' || !res.complete) {
    return { kind: 'broken', reason: `download ${id} ended after ${received} bytes` }
  }
  return { kind: 'wrong', reason: `download ${id}: ${received} bytes passed for ${length}` }
}

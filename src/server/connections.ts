import type { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { TLSSocket } from 'node:tls'

/** A request, and the answer to it that is not complete yet. */
export type Unfinished = { readonly req: IncomingMessage; readonly res: ServerResponse }

/** The open connections of a listener, and what each is doing. */
export type Connections = {
  /** A connection is there, and nothing was asked on it yet. */
  add(socket: Duplex): void
  /** A TLS handshake is to come on it; the TLS connection is added once it is established. */
  secure(socket: Socket): void
  /** How many are open, handshakes included. */
  count(): number
  /** Calls `answer` when the answers to all earlier requests on the same connection are complete. */
  ask(request: Unfinished, answer: () => void): void
  /** What a connection is busy with; undefined between two requests. */
  current(socket: Duplex): Unfinished | undefined
  /** Closes the connections that wait for their next request. */
  closeIdle(): void
  /** Closes those on which nothing was ever asked, as load balancers open in advance, or a handshake
   *  has not ended. */
  closeUnused(): void
  /** Closes all. Returns how many of them had an answer to complete. */
  closeAll(): number
}

type State = { used: boolean; readonly unfinished: { request: Unfinished; answer: () => void }[] }

/** Requests that may wait on one connection. Registry clients send the next one after an answer. */
const maxPipelined = 16

/**
 * Keeps count by complete answers: for Node a connection is idle as soon as `res.end()` was called, though
 * a slow client may still have a mebibyte to take, and `closeIdleConnections` would cut that off.
 *
 * Requests on one connection are answered strictly one after the other. Node would start all that a
 * client pipelines, and an answer that breaks before its turn could not be broken off on the wire.
 */
export function createConnections(): Connections {
  const states = new Map<Duplex, State>()
  const beneathTls = new Set<Socket>()
  const handshaking = new Set<Socket>()

  const closeWhere = (isClosed: (state: State) => boolean): void => {
    for (const [socket, state] of states) if (isClosed(state)) socket.destroy()
  }

  return {
    add(socket) {
      const beneath = socket instanceof TLSSocket ? connectionBeneath(socket) : undefined
      if (beneath !== undefined) handshaking.delete(beneath)
      states.set(socket, { used: false, unfinished: [] })
      socket.once('close', () => states.delete(socket))
    },
    secure(socket) {
      beneathTls.add(socket)
      handshaking.add(socket)
      socket.once('close', () => {
        beneathTls.delete(socket)
        handshaking.delete(socket)
      })
    },
    count: () => states.size + handshaking.size,
    ask(request, answer) {
      const state = states.get(request.req.socket)
      if (state === undefined) return
      state.used = true
      state.unfinished.push({ request, answer })
      if (state.unfinished.length > maxPipelined) request.req.socket.destroy()
      request.res.on('close', () => {
        state.unfinished.shift()
        // After `Connection: close` nothing more may be done for this client; RFC 9112 section 9.6.
        const { socket } = request.req
        if (socket.destroyed || socket.writableEnded) state.unfinished.length = 0
        state.unfinished[0]?.answer()
      })
      if (state.unfinished.length === 1) answer()
    },
    current: (socket) => states.get(socket)?.unfinished[0]?.request,
    closeIdle: () => closeWhere(({ used, unfinished }) => used && unfinished.length === 0),
    closeUnused() {
      closeWhere(({ used }) => !used)
      for (const socket of handshaking) socket.destroy()
    },
    closeAll() {
      let busy = 0
      for (const [socket, { unfinished }] of states) {
        if (unfinished.length > 0 && !socket.destroyed) busy += 1
        socket.destroy()
      }
      for (const socket of beneathTls) socket.destroy()
      return busy
    },
  }
}

/**
 * The connection that a TLS connection of a server is on. Node keeps it under a name of its own, and
 * nothing public leads there: addresses do not, for one peer may reach two of ours from one port, and
 * those on Unix sockets have none.
 */
export function connectionBeneath(
  socket: TLSSocket & { readonly _parent?: unknown },
): Socket | undefined {
  return socket._parent instanceof Socket ? socket._parent : undefined
}

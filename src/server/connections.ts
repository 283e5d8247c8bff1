import type { Duplex } from 'node:stream'

/** The open connections of a listener, and what each is doing. */
export type Connections = {
  /** A connection is there, and nothing was asked on it yet. */
  add(socket: Duplex): void
  /** It carries a TLS connection from now on, which is counted by itself once it is established. */
  secure(socket: Duplex): void
  /** A request came on it; call the result when its answer is complete or the connection gone. */
  begin(socket: Duplex): () => void
  /** Closes the connections on which nothing was ever asked: nobody waits for an answer there. */
  closeUnused(): void
  /** Closes all. Returns how many of them had a request in flight. */
  closeAll(): number
}

/**
 * Node closes connections between two requests by itself (`closeIdleConnections`), but not those that
 * were opened in advance and never used, as load balancers do.
 */
export function createConnections(): Connections {
  const requests = new Map<Duplex, { seen: boolean; inFlight: number }>()
  const beneathTls = new Set<Duplex>()

  return {
    add(socket) {
      requests.set(socket, { seen: false, inFlight: 0 })
      socket.once('close', () => requests.delete(socket))
    },
    secure(socket) {
      requests.delete(socket)
      beneathTls.add(socket)
      socket.once('close', () => beneathTls.delete(socket))
    },
    begin(socket) {
      const state = requests.get(socket)
      if (state === undefined) return () => {}
      state.seen = true
      state.inFlight += 1
      return () => {
        state.inFlight -= 1
      }
    },
    closeUnused() {
      for (const [socket, { seen }] of requests) if (!seen) socket.destroy()
    },
    closeAll() {
      let inFlight = 0
      for (const [socket, state] of requests) {
        if (state.inFlight > 0 && !socket.destroyed) inFlight += 1
        socket.destroy()
      }
      for (const socket of beneathTls) socket.destroy()
      return inFlight
    },
  }
}

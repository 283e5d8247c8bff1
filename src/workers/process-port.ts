import type { ChildProcess } from 'node:child_process'
import type { Port } from './channel.ts'

/** The port of a process to its parent, or of a parent to its child. */
export function processPort(peer: NodeJS.Process | ChildProcess): Port {
  return {
    send(message, onSent) {
      // Without a callback a failure would be an 'error' event, which nobody may have listened to.
      if (!peer.connected || peer.send === undefined) onSent(new Error('not connected'))
      else peer.send(message, undefined, {}, onSent)
    },
    onMessage: (listener) => void peer.on('message', listener),
    onGone: (listener) => void peer.once('disconnect', listener),
  }
}

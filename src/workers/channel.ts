import { type ErrorCode, RegistryError } from '../lib/errors.ts'
import { StartupError } from '../lib/startup-error.ts'

/** One end of a connection between two processes that carries structured clones. */
export type Port = {
  /** Calls back with an error if it could not be sent. */
  send(message: object, onSent: (error: Error | null) => void): void
  onMessage(listener: (message: unknown) => void): void
  /** Nothing will arrive any more. */
  onGone(listener: () => void): void
}

/** What a side answers, by name. */
export type Handlers = Readonly<Record<string, (...args: never[]) => unknown>>

/** Speaks to a side that has the handlers `Theirs`. */
export type Channel<Theirs extends Handlers> = {
  /**
   * Resolves to the answer.
   * @throws RegistryError, StartupError as the other side threw it
   * @throws RegistryError UNAVAILABLE when the other side is gone, or goes before it has answered
   */
  ask<Name extends keyof Theirs & string>(
    name: Name,
    ...args: Parameters<Theirs[Name]>
  ): Promise<Awaited<ReturnType<Theirs[Name]>>>
  /** Wants no answer, and does not learn of a failure. */
  tell<Name extends keyof Theirs & string>(name: Name, ...args: Parameters<Theirs[Name]>): void
}

type Message =
  | { readonly tidegate: 'ask'; readonly id: number; readonly name: string; readonly args: never[] }
  | { readonly tidegate: 'tell'; readonly name: string; readonly args: never[] }
  | { readonly tidegate: 'answer'; readonly id: number; readonly value: unknown }
  | { readonly tidegate: 'failure'; readonly id: number; readonly failure: Failure }

/** An error that keeps what it is on its way, as a structured clone of it would not. */
type Failure =
  | {
      readonly kind: 'registry'
      readonly code: ErrorCode
      readonly detail: unknown
      readonly headers: Readonly<Record<string, string>>
    }
  | { readonly kind: 'startup'; readonly problems: readonly string[] }
  | { readonly kind: 'fault'; readonly text: string }

type Pending = { resolve(value: unknown): void; reject(error: Error): void }

/**
 * Opens our end of a channel: `handlers` answer what the other side asks. What others send over the
 * same port, as `node --watch` does, is none of ours.
 */
export function openChannel<Theirs extends Handlers>(
  port: Port,
  handlers: Handlers,
): Channel<Theirs> {
  const pending = new Map<number, Pending>()
  let isGone = false
  let lastId = 0

  const settle = (id: number): Pending | undefined => {
    const found = pending.get(id)
    pending.delete(id)
    return found
  }
  const send = (message: Message, onFailure: () => void): void => {
    port.send(message, (error) => {
      if (error !== null) onFailure()
    })
  }
  const answer = async (id: number, name: string, args: never[]): Promise<void> => {
    // Who cannot be told has gone, and has given up on the answer.
    const reply = (message: Message): void => send(message, () => {})
    try {
      reply({ tidegate: 'answer', id, value: await handlers[name]?.(...args) })
    } catch (error) {
      reply({ tidegate: 'failure', id, failure: failureOf(error) })
    }
  }

  port.onMessage((message) => {
    if (!isOurs(message)) return
    if (message.tidegate === 'ask') void answer(message.id, message.name, message.args)
    else if (message.tidegate === 'tell') handlers[message.name]?.(...message.args)
    else if (message.tidegate === 'answer') settle(message.id)?.resolve(message.value)
    else settle(message.id)?.reject(errorOf(message.failure))
  })
  port.onGone(() => {
    isGone = true
    for (const { reject } of pending.values()) reject(gone())
    pending.clear()
  })

  return {
    async ask(name, ...args) {
      if (isGone) throw gone()
      const { promise, resolve, reject } = Promise.withResolvers<never>()
      const id = ++lastId
      pending.set(id, { resolve: resolve as (value: unknown) => void, reject }) // both sides share one type
      send({ tidegate: 'ask', id, name, args }, () => settle(id)?.reject(gone()))
      return await promise
    },
    tell(name, ...args) {
      if (!isGone) send({ tidegate: 'tell', name, args }, () => {})
    },
  }
}

function isOurs(message: unknown): message is Message {
  return typeof message === 'object' && message !== null && 'tidegate' in message
}

function gone(): RegistryError {
  return new RegistryError('UNAVAILABLE', undefined, {
    cause: new Error('the other process of this server is gone'),
  })
}

function failureOf(error: unknown): Failure {
  if (error instanceof RegistryError) {
    const { code, detail, headers } = error
    return { kind: 'registry', code, detail, headers }
  }
  if (error instanceof StartupError) return { kind: 'startup', problems: error.problems }
  return { kind: 'fault', text: error instanceof Error ? String(error.stack) : String(error) }
}

function errorOf(failure: Failure): Error {
  switch (failure.kind) {
    case 'registry':
      return new RegistryError(failure.code, failure.detail, { headers: failure.headers })
    case 'startup':
      return new StartupError(failure.problems)
    case 'fault':
      return new Error(`in another process of this server: ${failure.text}`)
  }
}

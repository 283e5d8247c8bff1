import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Principal } from '../auth/authenticator.ts'
import type { RegistryError } from '../lib/errors.ts'
import type { Origin } from './origin.ts'
import type { Route } from './route.ts'

/** One request on its way through the front; each step fills in what it found out. */
export type Exchange = {
  readonly id: string
  readonly req: IncomingMessage
  readonly res: ServerResponse
  readonly startedAt: number
  /** The client waits for `100 Continue` before it sends its body; RFC 9110 section 10.1.1. */
  readonly expectsContinue: boolean
  /** Headers that any answer carries, as of the moment it begins: name and value in turn. */
  readonly headers: () => string[]
  readonly progress: { bytesIn: number; bytesOut: number }
  origin?: Origin | undefined
  route?: Route | undefined
  principal?: Principal | undefined
  error?: RegistryError | undefined
}

/** An exchange that may proceed: it is known what it is about and who asks. */
export type RoutedExchange = Exchange & { readonly origin: Origin; readonly route: Route }

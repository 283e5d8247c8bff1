import { createSecureContext, type SecureContext, type SecureContextOptions } from 'node:tls'
import { StartupError } from '../lib/startup-error.ts'

/**
 * A context for connections. OpenSSL has the last word about material that looked fine: its own
 * configuration on the machine may ask for more.
 * @throws StartupError that begins with `what`
 */
export function openSecureContext(what: string, options: SecureContextOptions): SecureContext {
  try {
    return createSecureContext(options)
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new StartupError(`${what} is refused by OpenSSL: ${reason}`, { cause })
  }
}

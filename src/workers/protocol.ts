import type { Login } from '../auth/verifier-pool.ts'
import type { Config } from '../config/schema.ts'
import type { MetricsSnapshot } from '../observability/metrics.ts'

/** What a worker needs to know; it reads no configuration of its own, so that all have the same. */
export type StartOrder = {
  readonly config: Config
  /** How many there are, which share `http.maxconnections`. */
  readonly workers: number
  /** From which all workers derive the same keys of TLS session tickets. */
  readonly ticketSecret: Uint8Array
}

/** What the primary may ask of a worker. */
export type WorkerHandlers = {
  /**
   * Listens. Resolves to the URL.
   * @throws StartupError
   */
  start(order: StartOrder): Promise<string>
  /** Drains, and ends the process. */
  stop(): void
  snapshot(): Promise<MetricsSnapshot>
  /** Answered by whoever does not hang. */
  ping(): void
}

/** What a worker may ask of the primary. */
export type PrimaryHandlers = {
  /**
   * True when the password matches the hash.
   * @throws RegistryError as `PasswordVerifier.verify`
   */
  verify(login: Login): Promise<boolean>
  /** After a fault the worker takes no new work, and ends when what it has is done. */
  leaving(): void
}

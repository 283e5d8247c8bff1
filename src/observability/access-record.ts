/** One line of the access log. Names are stable: people parse them. */
export type AccessRecord = {
  readonly requestId: string
  readonly client: string
  /** Absent for anonymous requests. */
  readonly user: string | undefined
  readonly method: string
  readonly host: string | undefined
  readonly repository: string | undefined
  /** Tag, digest or upload id. */
  readonly reference: string | undefined
  /** Path without its query, only where there is no repository. */
  readonly path: string | undefined
  /** 499: the client left before the answer was complete. */
  readonly status: number
  /** Code of the error we answered with. */
  readonly error: string | undefined
  /** Bytes of body received from and sent to the client. */
  readonly bytesIn: number
  readonly bytesOut: number
  readonly ms: number
  readonly userAgent: string | undefined
}

/** Longest text that a client can put into one field. */
const maxFieldLength = 256

/** `text` fit for a log field: bounded, and free of control characters. */
export function logField(text: string | undefined): string | undefined {
  if (text === undefined) return undefined
  return text.slice(0, maxFieldLength).replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, '\ufffd')
}

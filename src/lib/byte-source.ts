/**
 * Bytes that arrive over time, such as a request body. The consumer sets the pace and owns the memory.
 */
export type ByteSource = {
  /** How many there are in all, if the sender has said so. */
  readonly length?: number | undefined
  /**
   * Fills `buffer` from its start and resolves with the number of bytes: all of it, or less at the end
   * of the bytes; 0 says that nothing is left. One call at a time. When the sender breaks off, what
   * had arrived is handed out first, and the call after that rejects.
   */
  fill(buffer: Buffer): Promise<number>
}

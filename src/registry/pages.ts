/** The part of a sorted list that a client asks for; OCI distribution-spec "Listing Tags". */
export type Page = {
  /** Most entries of the answer; undefined for all. */
  readonly limit: number | undefined
  /** The entry after which the answer begins, in ASCII order, whether it exists or not. */
  readonly after: string | undefined
}

export type Listed<T> = {
  readonly entries: readonly T[]
  /** Whether the list goes on after the last entry. */
  readonly more: boolean
}

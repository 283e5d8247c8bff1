/** Positions of the first and the last byte of a part, both inclusive. */
export type ByteRange = { readonly first: number; readonly last: number }

/**
 * The part of a representation of `size` bytes that a `Range` header asks for; RFC 9110 section 14.2.
 * Undefined when the whole is to be sent: no header, another unit, several ranges, or what cannot be
 * understood, all of which a server may ignore. An empty representation has no parts, so that a client
 * that always asks for a range gets it too. A last position before the first is taken as an error of
 * the client, not as something to ignore: the OCI conformance tests ask for that.
 */
export function parseByteRange(
  value: string | undefined,
  size: number,
): ByteRange | 'unsatisfiable' | undefined {
  const spec = /^bytes=[ \t]*(?:([0-9]+)-([0-9]*)|-([0-9]+))[ \t]*$/i.exec(value ?? '')
  if (spec === null || size === 0) return undefined
  const [, first, last, suffix] = spec
  if (suffix !== undefined) return satisfiable(Math.max(0, size - Number(suffix)), size - 1)
  return satisfiable(Number(first), last === '' ? size - 1 : Math.min(Number(last), size - 1))
}

function satisfiable(first: number, last: number): ByteRange | 'unsatisfiable' {
  return first <= last ? { first, last } : 'unsatisfiable'
}

/**
 * The place that a chunk claims in its upload: `<first>-<last>` as OCI distribution-spec "Pushing a blob
 * in chunks" has it, or RFC 9110's form with a unit and a total (`bytes 0-9/*`), which some clients send.
 * Undefined if it is neither, or names positions that no file has.
 */
export function parseContentRange(value: string): ByteRange | undefined {
  const spec = /^(?:bytes[ =])?([0-9]+)-([0-9]+)(?:\/(?:[0-9]+|\*))?$/i.exec(value.trim())
  if (spec === null) return undefined
  const range = { first: Number(spec[1]), last: Number(spec[2]) }
  return range.first <= range.last && Number.isSafeInteger(range.last) ? range : undefined
}

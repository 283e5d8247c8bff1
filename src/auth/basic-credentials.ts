/** A user name and password as a client sent them; any text, checked by nobody yet. */
export type BasicCredentials = { readonly user: string; readonly password: string }

/**
 * The credentials in an `Authorization` value, or undefined when it is of another scheme or is not
 * base64 of UTF-8 text with a colon. The first colon divides: passwords may hold more. RFC 7617.
 */
export function parseBasicCredentials(authorization: string): BasicCredentials | undefined {
  const encoded = /^basic +(?<token>[A-Za-z0-9+/]+={0,2}) *$/i.exec(authorization)?.groups?.[
    'token'
  ]
  if (encoded === undefined) return undefined
  const text = decodeUtf8(Buffer.from(encoded, 'base64'))
  const colon = text?.indexOf(':') ?? -1
  if (text === undefined || colon < 0) return undefined
  return { user: text.slice(0, colon), password: text.slice(colon + 1) }
}

/**
 * The `WWW-Authenticate` value that asks for Basic credentials in UTF-8. `realm` is any text: it is
 * quoted, and what is not ASCII travels as its UTF-8 bytes. RFC 7617, section 2.1.
 */
export function basicChallenge(realm: string): string {
  const quoted = realm
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they would end or break the header
    .replace(/[\u0000-\u001f\u007f]/g, ' ')
    .replace(/["\\]/g, '\\$&')
  return `Basic realm="${Buffer.from(quoted).toString('latin1')}", charset="UTF-8"`
}

function decodeUtf8(bytes: Buffer): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return undefined
  }
}

/** Longest user name and password that are looked at, in UTF-8 bytes: SHA-crypt's work grows with both. */
const maxUserBytes = 256
const maxPasswordBytes = 1024

// RFC 7617, section 2: "The user-id and password MUST NOT contain any control characters".
// biome-ignore lint/suspicious/noControlCharactersInRegex: finding them is the purpose
const control = /[\u0000-\u001f\u007f]/

/** Why nobody can log in with this user name, or undefined when somebody could. RFC 7617, section 2. */
export function userNameProblem(name: string): string | undefined {
  if (name === '') return 'is empty'
  if (control.test(name)) return 'contains control characters'
  if (name.includes(':')) return 'contains a colon'
  if (Buffer.byteLength(name) > maxUserBytes) return `is longer than ${maxUserBytes} bytes`
  return undefined
}

/** Why nobody can log in with this password, or undefined when somebody could. RFC 7617, section 2. */
export function passwordProblem(password: string): string | undefined {
  if (password === '') return 'is empty'
  if (control.test(password)) return 'contains control characters'
  if (Buffer.byteLength(password) > maxPasswordBytes)
    return `is longer than ${maxPasswordBytes} bytes`
  return undefined
}

/** `name` for logs and messages: invisible characters as `\u{..}`, at most 64 characters long. */
export function printableName(name: string): string {
  const escaped = name
    .slice(0, 64)
    .replace(
      /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu,
      (char) => `\\u{${char.codePointAt(0)?.toString(16)}}`,
    )
  return escaped.slice(0, 64)
}

/** The command that adds a user to an htpasswd file or gives one a new password, for a POSIX shell. */
export function htpasswdAddCommand(path: string, user?: string): string {
  return `tidegate htpasswd add ${quote(path)} ${user === undefined ? 'USER' : quote(user)}`
}

function quote(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`
}

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { mustRun } from './process.ts'

export const USER = 'alice'

/** Holds what is lost when a client or server splits at the wrong colon or assumes ASCII. */
export const PASSWORD = 'p:ss wörd'

/** Writes a file in which htpasswd itself has hashed `PASSWORD` of `USER` with bcrypt; returns its path. */
export async function makeHtpasswd(folder: string): Promise<string> {
  const path = join(folder, 'htpasswd')
  await writeFile(path, await mustRun('htpasswd', ['-Bbn', USER, PASSWORD]))
  return path
}

/** The value of an Authorization header for `USER`. */
export function basic(password: string): string {
  return `Basic ${Buffer.from(`${USER}:${password}`).toString('base64')}`
}

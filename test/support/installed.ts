import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'

/** True if a program can be started by its name. */
export function isInstalled(program: string): boolean {
  // Daemons live in sbin, which is not on the PATH of every user.
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin']
  return folders.some((folder) => isExecutable(join(folder, program)))
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

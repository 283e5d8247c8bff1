import { readdir, readFile } from 'node:fs/promises'

/** A process and all that it started and that is still there, itself first. */
export async function treeOf(root: number): Promise<number[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number)
  const parents = new Map<number, number>()
  for (const pid of pids) {
    const fields = await statOf(pid).catch(() => undefined)
    if (fields !== undefined) parents.set(pid, Number(fields[1]))
  }
  const tree = [root]
  for (const parent of tree) tree.push(...pids.filter((pid) => parents.get(pid) === parent))
  return tree
}

/** Fields of /proc/PID/stat from the third on, the first that the program's name cannot disturb. */
export async function statOf(pid: number): Promise<string[]> {
  return (await readFile(`/proc/${pid}/stat`, 'utf8')).replace(/^.*\) /s, '').split(' ')
}

/**
 * Sends SIGKILL to a process and all that it started, as the system does when a container or a
 * service dies. The root goes first, since it might replace what it finds dead.
 */
export async function killTree(root: number): Promise<void> {
  for (const pid of await treeOf(root)) killIfThere(pid)
}

/** Whether a process has not ended, or nobody has asked how it did. */
export function isThere(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

/** Sends SIGKILL to a process that may have ended already. */
export function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // There is nobody to kill; no process of ours is another user's.
  }
}

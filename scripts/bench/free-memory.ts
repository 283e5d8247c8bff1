import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { freemem } from 'node:os'
import { join } from 'node:path'

/** What is left for servers and for files. */
const leftBytes = 4 * 1024 ** 3

/**
 * Takes nearly all memory that is free, so that files are cached in memory that files were cached in
 * before, as on a machine that has been up for long. On a virtual machine free memory may lie with the host,
 * who hands out each page at the cost of a fault: measured, 2.1 CPU seconds a GiB of whoever writes a
 * file, and no difference between servers is seen any more. Gives it back when it is disposed of.
 */
export async function holdFreeMemory(): Promise<Disposable> {
  const bytes = Math.max(0, Math.min(freemem(), process.availableMemory()) - leftBytes)
  console.log(`holding ${(bytes / 1024 ** 3).toFixed(1)} GiB of free memory`)
  // A process of its own: to fork one of this size takes its time.
  const program = join(import.meta.dirname, 'memory-holder.js')
  const stdio = ['pipe', 'pipe', 'inherit'] as const
  const holder = spawn(process.execPath, [program, `${bytes}`], { stdio: [...stdio] })
  let isOver = false
  // Ends the run: what follows would be measured under other conditions than what came before.
  holder.once('exit', (code, signal) => {
    if (!isOver) throw new Error(`free memory is no longer held: exit ${code ?? signal}`)
  })
  await once(holder.stdout, 'data')
  return {
    [Symbol.dispose]() {
      isOver = true
      holder.kill()
    },
  }
}

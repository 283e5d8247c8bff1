import { readFile } from 'node:fs/promises'
import type { Logger } from 'pino'

/** Descriptors that are not clients' or upstream's: files, logs, worker threads, listeners. */
const reserved = 100
/** Fewer connections than this are worth a warning. */
const fewConnections = 1000

/**
 * How many connections may be open at once: `wanted`, or as many as the process has file descriptors
 * for; with a warning if that is few. Each client's connection needs two: its own and the upstream's.
 */
export async function affordableConnections(wanted: number, log: Logger): Promise<number> {
  const limits = await readFile('/proc/self/limits', 'utf8').catch(() => '')
  const limit = Number(/^Max open files\s+([0-9]+)/m.exec(limits)?.[1] ?? Number.POSITIVE_INFINITY)
  const affordable = Math.max(1, Math.floor((limit - reserved) / 2))
  if (affordable >= wanted) return wanted
  log[affordable < fewConnections ? 'warn' : 'debug'](
    { openFiles: limit, connections: affordable },
    `http.maxconnections: ${wanted} connections need more open files than the process may have; raise the limit (ulimit -n, LimitNOFILE)`,
  )
  return affordable
}

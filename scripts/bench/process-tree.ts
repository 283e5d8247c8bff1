import { statOf, treeOf } from '../../test/support/process-tree.ts'
import { measuresOf } from '../../test/support/server-process.ts'

/** What a process and all its descendants have used, so that workers count for their primary. */
export type TreeMeasures = {
  /** User and system time so far, in seconds, that of descendants which have ended included. */
  cpuSeconds(): Promise<number>
  /** Resident memory now, in bytes. Pages that processes share count for each. */
  memory(): Promise<number>
  /** Largest resident memory of each process so far, added up, in bytes. */
  peakMemory(): Promise<number>
  /** Bytes that living processes caused to be written to storage so far. */
  writtenToDisk(): Promise<number>
}

/** Clock ticks of proc(5) in a second: 100 on every Linux that Node runs on. */
const ticksPerSecond = 100

/** Measures of `pid` and of what it started, as the system has them at each call. */
export function treeMeasuresOf(pid: number): TreeMeasures {
  const sum = async (measure: (pid: number) => Promise<number>): Promise<number> => {
    // A process may end between the list and the question.
    const measured = (await treeOf(pid)).map((each) => measure(each).catch(() => 0))
    return (await Promise.all(measured)).reduce((total, value) => total + value, 0)
  }
  return {
    cpuSeconds: () => sum(cpuSecondsOf),
    memory: () => sum((each) => measuresOf(each).memory()),
    peakMemory: () => sum((each) => measuresOf(each).peakMemory()),
    writtenToDisk: () => sum((each) => measuresOf(each).writtenToDisk()),
  }
}

async function cpuSecondsOf(pid: number): Promise<number> {
  // utime, stime, cutime, cstime. The latter two hold only children that were waited for, so that
  // nobody in the tree counts twice.
  const ticks = (await statOf(pid)).slice(11, 15).map(Number)
  return ticks.reduce((total, value) => total + value, 0) / ticksPerSecond
}

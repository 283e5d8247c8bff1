import { execFile, spawn } from 'node:child_process'
import { mkdtempDisposable, readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { promisify } from 'node:util'

/** What a process asked of the system: one call of those that decide what is on the disk. */
export type TracedCall = {
  /** One name for all variants: `sync`, `rename`, `open`, `mkdir`, `unlink`, `rmdir`, `link`, `write`. */
  readonly name: string
  /** Arguments and result as strace prints them. */
  readonly text: string
  /** Files in the order they are mentioned; an open file has the path it had at that moment. */
  readonly paths: readonly string[]
  readonly hasFailed: boolean
  /** Where in the trace it began and was done: calls of several threads overlap. */
  readonly begin: number
  readonly end: number
}

export type Trace = {
  /** Calls that did what was asked, of this name; with `path`, those whose last file it is. */
  all(name: string, path?: string): readonly TracedCall[]
  /** The first of them. @throws if there is none */
  first(name: string, path?: string): TracedCall
  /** When the program wrote `mark:<text>` to its error output. @throws if it never did */
  mark(text: string): TracedCall
}

const names: Readonly<Record<string, string>> = {
  fsync: 'sync',
  fdatasync: 'sync',
  renameat: 'rename',
  renameat2: 'rename',
  openat: 'open',
  mkdirat: 'mkdir',
  unlinkat: 'unlink',
  linkat: 'link',
}
const filter = [
  'fsync,fdatasync,openat,mkdirat,unlinkat,renameat2,linkat,ftruncate,write',
  // Not on every architecture.
  '?rename,?renameat,?mkdir,?unlink,?rmdir,?link',
].join(',')

/** Why nothing can be traced here; undefined if it can. */
export async function straceProblem(): Promise<string | undefined> {
  try {
    await promisify(execFile)('strace', ['-f', '--seccomp-bpf', '-qq', '-o', '/dev/null', 'true'])
    return undefined
  } catch (error) {
    const isMissing = error instanceof Error && 'code' in error && error.code === 'ENOENT'
    return isMissing ? 'strace is not installed' : 'this system does not permit strace'
  }
}

export type TracedProgram = {
  /** An ECMAScript module; `process.argv` has `args` from its second place on. */
  readonly source: string
  readonly args?: readonly string[]
  /** Faults, as strace's `inject` takes them, e.g. `fsync:error=EIO:when=2`: counted on one thread. */
  readonly inject?: readonly string[]
}

/** Runs a program to its end. @throws with what it wrote to its error output if that is a failure */
export async function traceProgram(program: TracedProgram): Promise<Trace> {
  const { source, args = [], inject = [] } = program
  await using folder = await mkdtempDisposable(join(tmpdir(), 'tidegate-strace-'))
  const output = join(folder.path, 'trace')
  const options = ['-f', '--seccomp-bpf', '-qq', '-y', '-s', '256', '-o', output]
  const faults = inject.flatMap((fault) => ['-e', `inject=${fault}`])
  const command = [process.execPath, '--input-type=module', '-e', source, '--', ...args]
  const child = spawn('strace', [...options, '-e', `trace=${filter}`, ...faults, ...command], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, ...(inject.length > 0 && { UV_THREADPOOL_SIZE: '1' }) },
    timeout: 60_000,
  })
  const exited = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject).once('close', resolve)
  })
  const [errors, code] = await Promise.all([text(child.stderr), exited])
  if (code !== 0) throw new Error(`the traced program ended with ${code}:\n${errors}`)
  return createTrace(parseTrace(await readFile(output, 'utf8')))
}

/** The calls in what `strace -f -y` wrote, in the order in which they began. */
export function parseTrace(output: string): TracedCall[] {
  const calls: TracedCall[] = []
  const begun = new Map<string, { begin: number; name: string; text: string }>()
  for (const [index, line] of output.split('\n').entries()) {
    const [, thread = '', rest = ''] = /^(\d+) +(.*)$/.exec(line) ?? []
    const whole = /^(\w+)\((.*)$/.exec(rest)
    const resumed = /^<\.\.\. \w+ resumed>(.*)$/.exec(rest)
    if (whole !== null) {
      const [, name = '', text = ''] = whole
      const unfinished = text.split(' <unfinished ...>')[0] ?? ''
      if (unfinished !== text) begun.set(thread, { begin: index, name, text: unfinished })
      else calls.push(describeCall(name, text, { begin: index, end: index }))
    } else if (resumed !== null) {
      const { begin, name, text } = begun.get(thread) ?? { begin: index, name: 'unknown', text: '' }
      begun.delete(thread)
      calls.push(describeCall(name, text + resumed[1], { begin, end: index }))
    }
  }
  return calls.sort((a, b) => a.begin - b.begin)
}

function describeCall(
  name: string,
  text: string,
  place: { begin: number; end: number },
): TracedCall {
  const isFolderUnlink = name === 'unlinkat' && text.includes('AT_REMOVEDIR')
  const mentioned = text.replace(/AT_FDCWD<[^>]*>/g, '').matchAll(/"([^"]*)"|<(\/[^>]*)>/g)
  return {
    name: isFolderUnlink ? 'rmdir' : (names[name] ?? name),
    text,
    paths: [...mentioned].map(([, quoted, opened]) => quoted ?? opened ?? ''),
    hasFailed: / = -1 /.test(text),
    ...place,
  }
}

function createTrace(calls: readonly TracedCall[]): Trace {
  const all = (name: string, path?: string): readonly TracedCall[] =>
    calls.filter(
      (call) =>
        call.name === name && !call.hasFailed && (path === undefined || call.paths.at(-1) === path),
    )
  const first = (name: string, path?: string): TracedCall => {
    const [found] = all(name, path)
    if (found === undefined) throw new Error(`the trace has no ${name} of ${path ?? 'anything'}`)
    return found
  }
  const mark = (text: string): TracedCall => {
    const found = all('write').find((call) => call.text.includes(`mark:${text}\\n`))
    if (found === undefined) throw new Error(`the trace has no mark ${text}`)
    return found
  }
  return { all, first, mark }
}

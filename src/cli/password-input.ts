import { createInterface, type Interface } from 'node:readline'
import { type Readable, Writable } from 'node:stream'
import { StartupError } from '../lib/startup-error.ts'

type PasswordSource = {
  /** A terminal, where the password is asked for and not shown; or anything else: its first line. */
  input: Readable & { readonly isTTY?: boolean }
  /** Where the questions go. */
  output: Writable
  /** Ask twice on a terminal, and insist on the same answer. */
  confirm: boolean
}

/**
 * A password from a terminal or from the first line of a pipe, without its line end; undefined when
 * the person at the terminal pressed Ctrl-C.
 * @throws StartupError when none is given or the confirmation differs
 */
export async function readPassword({
  input,
  output,
  confirm,
}: PasswordSource): Promise<string | undefined> {
  if (!input.isTTY) return readFirstLine(input)
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() })
  // One interface for both questions: a paste that answers both arrives as one chunk.
  const terminal = createInterface({ input, output: silent, terminal: true, historySize: 0 })
  let isInterrupted = false
  terminal.once('SIGINT', () => {
    isInterrupted = true
    terminal.close()
  })
  try {
    return await askForPassword(terminal, output, confirm)
  } catch (error) {
    if (isInterrupted) return undefined
    throw error
  } finally {
    terminal.close()
  }
}

async function askForPassword(
  terminal: Interface,
  output: Writable,
  confirm: boolean,
): Promise<string> {
  const answers = terminal[Symbol.asyncIterator]()
  const ask = async (question: string): Promise<string> => {
    output.write(question)
    const answer = await answers.next()
    output.write('\n')
    if (answer.done) throw new StartupError('no password was given')
    return answer.value
  }
  const password = await ask('Password: ')
  if (confirm && (await ask('Password again: ')) !== password) {
    throw new StartupError('the two passwords differ; nothing was changed')
  }
  return password
}

async function readFirstLine(input: Readable): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of input) {
    chunks.push(Buffer.from(chunk))
    if (chunks.at(-1)?.includes('\n')) break
  }
  const bytes = Buffer.concat(chunks)
  const newline = bytes.indexOf('\n')
  const line = bytes.subarray(0, newline < 0 ? bytes.length : newline)
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(line)
    return text.replace(/\r$/, '')
  } catch (cause) {
    throw new StartupError('the password on standard input is not UTF-8', { cause })
  }
}

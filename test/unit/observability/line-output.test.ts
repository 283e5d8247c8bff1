import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { constants, mkdtempDisposable, open, readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import test from 'ava'
import { createLineOutput, type LineOutput } from '../../../src/observability/line-output.ts'

const roomy = { maxWaitingBytes: 1024 * 1024, onDropped: () => {} }
const flushed = (output: LineOutput): Promise<void> =>
  new Promise((resolve) => output.flush(resolve))

/** A pipe of the system, which both sides open without waiting for each other. */
async function openPipe(folder: string) {
  const path = join(folder, 'pipe')
  await promisify(execFile)('mkfifo', [path])
  const reader = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
  const writer = await open(path, constants.O_WRONLY | constants.O_NONBLOCK)
  return { reader, writer }
}

test('line output: when its reader has gone it has nothing more to do', async (t) => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'tidegate-'))
  const { reader, writer } = await openPipe(folder.path)
  await using _ = writer
  const output = createLineOutput(writer.fd, roomy)
  await reader.close()
  output.write('one\n')
  await t.notThrowsAsync(flushed(output))
  output.write('two\n')
  await t.notThrowsAsync(flushed(output))
  t.notThrows(output.writeRest)
})

test('line output: what a full disk refuses is dropped, and nothing waits for it', async (t) => {
  const counts: number[] = []
  await using full = await open('/dev/full', 'w')
  const output = createLineOutput(full.fd, {
    ...roomy,
    onDropped: (count) => void counts.push(count),
  })
  for (const line of ['one\n', 'two\n']) {
    output.write(line)
    await flushed(output)
  }
  t.deepEqual(counts, [])
  t.notThrows(output.writeRest)
})

test('line output: what is too much to wait is dropped and counted, and all else arrives in order', async (t) => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'tidegate-'))
  const path = join(folder.path, 'log')
  const counts: number[] = []
  await using file = await open(path, 'w')
  const output = createLineOutput(file.fd, {
    maxWaitingBytes: 10,
    onDropped: (count) => void counts.push(count),
  })
  for (const line of ['1234\n', '5678\n', 'lost\n']) output.write(line)
  await flushed(output)
  output.write('last\n')
  await flushed(output)
  t.is(await readFile(path, 'utf8'), '1234\n5678\nlast\n')
  t.deepEqual(counts, [1])
})

test('line output: a full pipe is written to when there is room again', async (t) => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'tidegate-'))
  const { reader, writer } = await openPipe(folder.path)
  await using _reader = reader
  await using _writer = writer
  const output = createLineOutput(writer.fd, roomy)
  const line = `${'x'.repeat(100_000)}\n`
  output.write(line)
  let text = ''
  const done = flushed(output).then(() => true)
  const buffer = Buffer.alloc(65_536)
  while (text.length < line.length) {
    const { bytesRead } = await reader.read(buffer).catch(() => ({ bytesRead: 0 }))
    text += buffer.toString('latin1', 0, bytesRead)
    // Nothing else keeps the process while a try is due.
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  t.true(await done)
  t.is(text, line)
})

test('line output: at an exit the rest is written at once, and a full pipe is given up', async (t) => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'tidegate-'))
  const path = join(folder.path, 'log')
  await using file = await open(path, 'w')
  const output = createLineOutput(file.fd, roomy)
  output.write('first\n')
  for (const line of ['a\n', 'b\n', 'c\n']) output.write(line)
  output.writeRest()
  t.true((await readFile(path, 'utf8')).includes('a\nb\nc\n'))
  const { reader, writer } = await openPipe(folder.path)
  await using _reader = reader
  await using _writer = writer
  const stuck = createLineOutput(writer.fd, roomy)
  stuck.write(`${'x'.repeat(100_000)}\n`)
  stuck.write('more\n')
  t.notThrows(stuck.writeRest)
})

/** Writes 7 MB in one go and ends, as a process that was told to stop. */
const burst = (path: string): string => `
  import { constants, openSync } from 'node:fs'
  import { createLineOutput } from './src/observability/line-output.ts'
  const fd = openSync('${path}', constants.O_WRONLY | constants.O_NONBLOCK)
  const output = createLineOutput(fd, { maxWaitingBytes: 8e6, unblocked: true, onDropped() {} })
  process.on('exit', output.writeRest)
  for (let left = 18_000; left > 0; left -= 1) output.write('x'.repeat(399) + '\\n')
  process.exit(0)`

test('line output: a reader that keeps up gets every line, also those of an exit', async (t) => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'tidegate-'))
  const path = join(folder.path, 'pipe')
  await promisify(execFile)('mkfifo', [path])
  const reader = spawn('wc', ['-l', path], { stdio: ['ignore', 'pipe', 'inherit'] })
  await using _held = await open(path, 'w')
  const args = ['--input-type=module-typescript', '-e', burst(path)]
  const writer = spawn(process.execPath, args, { stdio: 'inherit' })
  t.deepEqual(await once(writer, 'exit'), [0, null])
  await _held.close()
  const [text] = await reader.stdout.toArray()
  t.regex(String(text), /^18000 /)
})

test('line output: after a line that is cut short the next begins on a line of its own', async (t) => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'tidegate-'))
  const path = join(folder.path, 'log')
  // The shell's limit is in blocks of 512 or 1024 bytes; the file is that large at most.
  const script = `
    import { openSync, readFileSync, truncateSync } from 'node:fs'
    import { createLineOutput } from './src/observability/line-output.ts'
    process.on('SIGXFSZ', () => {})
    const fd = openSync('${path}', 'a')
    const counts = []
    const onDropped = (count) => counts.push(count)
    const output = createLineOutput(fd, { maxWaitingBytes: 8e6, unblocked: true, onDropped })
    output.write('x'.repeat(5000) + '\\n')
    output.flush(() => {})
    const torn = readFileSync('${path}', 'latin1').length
    truncateSync('${path}', 10)
    output.write('next\\n')
    output.flush(() => console.log(JSON.stringify({ torn: torn > 0 && torn < 5000, counts })))`
  // A report of coverage would be larger than the limit. Left out, Node would pass it on.
  const env = { ...process.env, NODE_V8_COVERAGE: '' }
  const command = [process.execPath, '--input-type=module-typescript', '-e', script]
  const args = ['-c', 'ulimit -f 4; exec "$@"', 'sh', ...command]
  const { stdout } = await promisify(execFile)('sh', args, { env })
  t.deepEqual(JSON.parse(stdout), { torn: true, counts: [1] })
  t.is(await readFile(path, 'utf8'), `${'x'.repeat(10)}\nnext\n`)
})

import { mkdir, mkdtempDisposable, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { type FileState, readStates, watchFiles } from '../../../src/lib/file-watch.ts'
import { until } from '../relay/support.ts'

const temporary = () => mkdtempDisposable(join(tmpdir(), 'tidegate-watch-'))

function textOf(state: FileState | undefined): string | undefined {
  if (state === undefined) return undefined
  return 'bytes' in state ? state.bytes.toString() : state.error.code
}

/** Watches `paths` from what they hold now; `seen` are the changes that were reported. */
async function watch(...paths: string[]) {
  const seen: (string | undefined)[][] = []
  const watcher = watchFiles(paths, await readStates(paths), {
    intervalMs: 5,
    onChange: (states) => void seen.push(states.map(textOf)),
  })
  return { seen, [Symbol.asyncDispose]: () => watcher[Symbol.asyncDispose]() }
}

test('file watch: a file that cannot be read is a state, not an exception', async (t) => {
  await using folder = await temporary()
  const states = await readStates([join(folder.path, 'absent'), folder.path])
  t.deepEqual(states.map(textOf), ['ENOENT', 'EISDIR'])
})

test('file watch: writing, replacing, removing and coming back are each reported', async (t) => {
  await using folder = await temporary()
  const path = join(folder.path, 'file')
  await writeFile(path, 'one')
  await using watcher = await watch(path)
  await writeFile(path, 'two')
  await until(() => watcher.seen.at(-1)?.[0] === 'two')
  await writeFile(`${path}.new`, 'three')
  await rename(`${path}.new`, path)
  await until(() => watcher.seen.at(-1)?.[0] === 'three')
  await rm(path)
  await until(() => watcher.seen.at(-1)?.[0] === 'ENOENT')
  await writeFile(path, 'three')
  await until(() => watcher.seen.at(-1)?.[0] === 'three')
  t.pass()
})

test('file watch: the swap of the ..data link of a mounted Secret is one change of all its files', async (t) => {
  await using folder = await temporary()
  const at = (name: string): string => join(folder.path, name)
  for (const version of ['1', '2']) {
    await mkdir(at(version))
    for (const name of ['key', 'cert'])
      await writeFile(at(`${version}/${name}`), `${name}${version}`)
  }
  await symlink('1', at('..data'))
  for (const name of ['key', 'cert']) await symlink(`..data/${name}`, at(name))
  await using watcher = await watch(at('key'), at('cert'))
  await symlink('2', at('..tmp'))
  await rename(at('..tmp'), at('..data'))
  await until(() => watcher.seen.at(-1)?.join() === 'key2,cert2')
  t.pass()
})

test('file watch: what changed between reading and watching is reported', async (t) => {
  await using folder = await temporary()
  const path = join(folder.path, 'file')
  await writeFile(path, 'now')
  const seen: FileState[] = []
  await using _ = watchFiles([path], [{ bytes: Buffer.from('before') }], {
    intervalMs: 5,
    onChange: (states) => void seen.push(...states),
  })
  await until(() => seen.length === 1)
  t.is(textOf(seen[0]), 'now')
})

test('file watch: the same content written again is no change', async (t) => {
  await using folder = await temporary()
  const [path, other] = [join(folder.path, 'file'), join(folder.path, 'other')]
  await writeFile(path, 'same')
  await writeFile(other, 'one')
  await using watcher = await watch(path, other)
  await writeFile(`${path}.new`, 'same')
  await rename(`${path}.new`, path)
  await writeFile(other, 'two')
  await until(() => watcher.seen.at(-1)?.[1] === 'two')
  t.true(watcher.seen.every((states) => states[0] === 'same'))
  await until(() => watcher.seen.length > 0)
})

test('file watch: changes are reported one at a time, the newest last', async (t) => {
  await using folder = await temporary()
  const path = join(folder.path, 'file')
  await writeFile(path, '0')
  let running = 0
  const seen: (string | undefined)[] = []
  await using _ = watchFiles([path], await readStates([path]), {
    intervalMs: 1,
    async onChange(states) {
      running += 1
      t.is(running, 1)
      for (let turn = 0; turn < 20; turn += 1) await new Promise(setImmediate)
      running -= 1
      seen.push(textOf(states[0]))
    },
  })
  for (let value = 1; value <= 20; value += 1) await writeFile(path, String(value))
  await until(() => seen.at(-1) === '20')
})

test('file watch: once disposed, nothing is reported, and a report under way is waited for', async (t) => {
  await using folder = await temporary()
  const path = join(folder.path, 'file')
  await writeFile(path, 'one')
  const begun = Promise.withResolvers<void>()
  let finished = 0
  const watcher = watchFiles([path], await readStates([path]), {
    intervalMs: 1,
    async onChange() {
      begun.resolve()
      for (let turn = 0; turn < 50; turn += 1) await new Promise(setImmediate)
      finished += 1
    },
  })
  await writeFile(path, 'two')
  await begun.promise
  await watcher[Symbol.asyncDispose]()
  t.is(finished, 1)
  await writeFile(path, 'three')
  const end = performance.now() + 50
  await until(() => performance.now() > end)
  t.is(finished, 1)
})

import { mkdtempDisposable, readdir, readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { trashRoot } from '../../../src/storage/layout.ts'
import { straceProblem, type Trace, type TracedCall, traceProgram } from '../../support/strace.ts'

const problem = await straceProblem()
const driverUrl = new URL('../../../src/storage/filesystem.ts', import.meta.url).href

type Run = (body: string, inject?: readonly string[]) => Promise<Trace>

/** Registers a test whose `run` runs code with `driver` and `mark` on the folder `root`, and traces it. */
function testTraced(
  title: string,
  check: (t: ExecutionContext, run: Run, root: string) => Promise<void>,
): void {
  if (problem !== undefined) {
    test.serial.skip(`${title} (skipped: ${problem})`, () => {})
    return
  }
  test.serial(title, async (t) => {
    await using folder = await mkdtempDisposable(join(tmpdir(), 'tidegate-durability-'))
    const root = join(folder.path, 'new', 'root')
    const run: Run = (body, inject = []) => {
      const source = `
        import { rmdirSync, unlinkSync, mkdirSync, writeSync } from 'node:fs'
        import { setTimeout as sleep } from 'node:timers/promises'
        import { createFilesystemDriver } from '${driverUrl}'
        const root = process.argv[1]
        const driver = createFilesystemDriver({ root })
        const mark = (text) => writeSync(2, 'mark:' + text + '\\n')
        const outcome = (promise) => promise.then(() => 'done', (error) => error.code)
        ${body}`
      return traceProgram({ source, args: [root], inject })
    }
    await check(t, run, root)
  })
}

function assertOrder(t: ExecutionContext, ...calls: readonly TracedCall[]): void {
  for (const [index, call] of calls.entries()) {
    const next = calls[index + 1]
    const texts = `${call.name}(${call.text}\nis not done before\n${next?.name}(${next?.text}`
    if (next !== undefined) t.true(call.end < next.begin, texts)
  }
}

/** The first sync of `path` that began after `call` was done. */
function syncAfter(trace: Trace, path: string, call: TracedCall): TracedCall {
  const found = trace.all('sync', path).find(({ begin }) => begin > call.end)
  if (found === undefined) throw new Error(`${path} is not synced after ${call.name}(${call.text}`)
  return found
}

/** Checks that each folder from that of `path` up was synced with its new name in it, before `done`. */
function assertNamesDurable(
  t: ExecutionContext,
  trace: Trace,
  { path, named, done }: { path: string; named: TracedCall; done: TracedCall },
): void {
  assertOrder(t, named, syncAfter(trace, dirname(path), named), done)
  for (const made of trace.all('mkdir')) {
    const folder = made.paths.at(-1) ?? ''
    if (path.startsWith(`${folder}/`))
      assertOrder(t, made, syncAfter(trace, dirname(folder), made), done)
  }
}

const link = '/docker/registry/v2/repositories/a/b/_layers/sha256/00/link'
const upload = '/docker/registry/v2/repositories/a/b/_uploads/1/data'
const blob = '/docker/registry/v2/blobs/sha256/00/0000/data'

testTraced(
  'durability: a write syncs content, renames, and syncs every folder that is new, before it resolves',
  async (t, run, root) => {
    const trace = await run(`await driver.write('${link}', 'content'); mark('done')`)
    const target = root + link
    const renamed = trace.first('rename', target)
    const temporary = renamed.paths[0] ?? ''
    t.regex(temporary.slice(target.length), /^\.[0-9a-f-]{36}\.tmp$/)
    t.is(dirname(temporary), dirname(target))
    const opened = trace.first('open', temporary)
    t.regex(opened.text, /O_EXCL/)
    t.is(trace.all('sync', temporary).length, 1)
    assertOrder(t, opened, trace.first('sync', temporary), renamed)
    assertNamesDurable(t, trace, { path: target, named: renamed, done: trace.mark('done') })
    // The root itself was new, and the folder that it is in.
    t.is(trace.all('mkdir').length, 11)
  },
)

testTraced(
  'durability: an upload that becomes a blob is synced, renamed, and has its new folders synced',
  async (t, run, root) => {
    const trace = await run(`
      const writer = await driver.create('${upload}')
      await writer.write(Buffer.from('content'))
      mark('written')
      await writer.sync()
      mark('synced')
      await writer[Symbol.asyncDispose]()
      await driver.move('${upload}', '${blob}', { durable: true })
      mark('moved')`)
    const [from, to] = [root + upload, root + blob]
    const synced = trace.first('sync', from)
    const renamed = trace.first('rename', to)
    t.is(renamed.paths[0], from)
    assertOrder(t, trace.mark('written'), synced, trace.mark('synced'), renamed)
    // What is synced has its name from then on: a crash before the rename loses nothing.
    const created = trace.first('open', from)
    assertNamesDurable(t, trace, { path: from, named: created, done: trace.mark('synced') })
    assertNamesDurable(t, trace, { path: to, named: renamed, done: trace.mark('moved') })
  },
)

testTraced(
  'durability: what is not asked to be durable costs no wait for the disk',
  async (t, run, root) => {
    const trace = await run(`
      const writer = await driver.create('/from/file')
      await writer.write(Buffer.from('content'))
      await writer[Symbol.asyncDispose]()
      await driver.move('/from/file', '/to/file', { durable: false })
      await driver.remove('/to', { durable: false })`)
    t.is(trace.all('rename', `${root}/to/file`).length, 1)
    t.deepEqual(trace.all('sync'), [])
  },
)

testTraced(
  'durability: a copy has its content synced before it has its name',
  async (t, run, root) => {
    const trace = await run(`
      await driver.write('/from/file', 'content')
      await driver.copy('/from/file', '/to/file')`)
    const renamed = trace.first('rename', `${root}/to/file`)
    assertOrder(t, trace.first('sync', renamed.paths[0]), renamed)
  },
)

testTraced(
  'durability: a removal is synced before it resolves, and before anything is deleted',
  async (t, run, root) => {
    const trace = await run(`
      await driver.write('/top/folder/file', 'content')
      await driver.write('/top/file', 'content')
      mark('start')
      await driver.remove('/top/file', { durable: true })
      mark('file')
      await driver.remove('/top/folder', { durable: true })
      mark('folder')`)
    const unlinked = trace.first('unlink', `${root}/top/file`)
    assertOrder(t, unlinked, syncAfter(trace, `${root}/top`, unlinked), trace.mark('file'))
    const renamed = trace.all('rename').find(({ paths }) => paths[0] === `${root}/top/folder`)
    const grave = renamed?.paths[1] ?? ''
    t.is(dirname(grave), root + trashRoot)
    if (renamed === undefined) return
    const synced = syncAfter(trace, `${root}/top`, renamed)
    assertOrder(t, renamed, synced, trace.first('unlink', `${grave}/file`), trace.mark('folder'))
  },
)

testTraced(
  'durability: a folder known to be durable is not synced again, one made anew by others is',
  async (t, run, root) => {
    const trace = await run(`
      await driver.write('/top/folder/file', 'first')
      await sleep(200)
      await driver.write('/top/folder/file', 'second')
      mark('known')
      await driver.write('/top/folder/file', 'third')
      mark('replaced')
      unlinkSync(root + '/top/folder/file')
      rmdirSync(root + '/top/folder')
      await sleep(20)
      mkdirSync(root + '/top/folder')
      await driver.write('/top/folder/file', 'fourth')
      mark('done')`)
    const between = (path: string, from: string, to: string): number =>
      trace
        .all('sync', root + path)
        .filter((call) => call.begin > trace.mark(from).end && call.end < trace.mark(to).begin)
        .length
    t.is(between('/top/folder', 'known', 'replaced'), 1)
    t.is(between('/top', 'known', 'replaced'), 0)
    t.is(between('/top/folder', 'replaced', 'done'), 1)
    t.is(between('/top', 'replaced', 'done'), 1)
    t.is(between('', 'replaced', 'done'), 0)
  },
)

testTraced(
  'durability: appending to what is durable syncs the content and nothing else',
  async (t, run, root) => {
    const trace = await run(`
      const append = async () => {
        const writer = (await driver.create('/a/data')) ?? (await driver.append('/a/data'))
        await writer.write(Buffer.from('x'))
        await writer.sync()
        await writer.sync()
        await writer[Symbol.asyncDispose]()
      }
      await append()
      await sleep(200)
      await append()
      mark('known')
      await append()`)
    const late = trace.all('sync').filter(({ begin }) => begin > trace.mark('known').end)
    t.deepEqual(
      late.map(({ paths }) => paths[0]),
      [`${root}/a/data`, `${root}/a/data`],
    )
  },
)

testTraced(
  'durability: a file that is renamed in its folder and back has only its content synced again',
  async (t, run, root) => {
    const trace = await run(`
      const append = async (claim) => {
        if (claim > 0) await driver.move('/a/data', '/a/data.' + claim, { durable: false })
        const path = claim > 0 ? '/a/data.' + claim : '/a/data'
        const writer = (await driver.create(path)) ?? (await driver.append(path))
        await writer.write(Buffer.from('x'))
        await writer.sync()
        await writer[Symbol.asyncDispose]()
        if (claim > 0) await driver.move(path, '/a/data', { durable: false })
      }
      await append(0)
      await sleep(200)
      await append(1)
      mark('known')
      await append(2)
      await append(3)`)
    const late = trace.all('sync').filter(({ begin }) => begin > trace.mark('known').end)
    t.deepEqual(
      late.map(({ paths }) => paths[0]),
      [`${root}/a/data.2`, `${root}/a/data.3`],
    )
  },
)

testTraced(
  'durability: what is moved durably next has its content synced, and its old name not',
  async (t, run, root) => {
    const trace = await run(`
      const writer = await driver.create('/from/data')
      await writer.write(Buffer.from('content'))
      await writer.syncContent()
      mark('synced')
      await writer[Symbol.asyncDispose]()
      await driver.move('/from/data', '/to/data', { durable: true })
      mark('moved')`)
    const synced = trace.first('sync', `${root}/from/data`)
    const renamed = trace.first('rename', `${root}/to/data`)
    assertOrder(t, synced, trace.mark('synced'), renamed)
    t.deepEqual(trace.all('sync', `${root}/from`), [])
    assertNamesDurable(t, trace, {
      path: `${root}/to/data`,
      named: renamed,
      done: trace.mark('moved'),
    })
  },
)

testTraced(
  'durability: a folder that comes back from the trash is synced under its name',
  async (t, run, root) => {
    const trace = await run(`
      await driver.write('/top/folder/file', 'content')
      await driver.remove('/top/folder', { durable: false, confirm: async () => false })
      mark('back')`)
    const renamed = trace.first('rename', `${root}/top/folder`)
    assertOrder(t, renamed, syncAfter(trace, `${root}/top`, renamed), trace.mark('back'))
  },
)

testTraced(
  'durability: a folder just made is not known for long, as its inode may get another use',
  async (t, run, root) => {
    const trace = await run(`
      Date.now = () => 0
      await driver.write('/top/folder/file', 'first')
      mark('first')
      await driver.write('/top/folder/file', 'second')
      mark('second')`)
    const again = syncAfter(trace, `${root}/top`, trace.mark('first'))
    assertOrder(t, again, trace.mark('second'))
  },
)

testTraced(
  'durability: a file that was moved away and back has its name synced again',
  async (t, run, root) => {
    const trace = await run(`
      const sync = async (writer) => {
        await writer.sync()
        await writer[Symbol.asyncDispose]()
      }
      await sync(await driver.create('/a/data'))
      await sleep(200)
      await sync(await driver.append('/a/data'))
      await driver.move('/a/data', '/b/data', { durable: false })
      await driver.move('/b/data', '/a/data', { durable: false })
      mark('back')
      await sync(await driver.append('/a/data'))
      mark('done')`)
    assertOrder(t, syncAfter(trace, `${root}/a`, trace.mark('back')), trace.mark('done'))
  },
)

testTraced(
  'durability: a write whose content cannot be synced fails and changes nothing',
  async (t, run, root) => {
    for (const code of ['EIO', 'ENOSPC']) {
      const trace = await run(
        "mkdirSync(root + '/a', { recursive: true }); mark(await outcome(driver.write('/a/file', 'x')))",
        [`fsync:error=${code}:when=1`],
      )
      t.truthy(trace.mark(code === 'EIO' ? 'EIO' : 'STORAGE_FULL'))
      t.deepEqual(trace.all('rename'), [])
      t.deepEqual(await readdir(`${root}/a`), [])
    }
  },
)

testTraced(
  'durability: a write whose folder cannot be synced fails, unless the file system never can',
  async (t, run, root) => {
    const body = "mark(await outcome(driver.write('/a/file', 'x')))"
    t.truthy((await run(body, ['fsync:error=EIO:when=2'])).mark('EIO'))
    t.truthy((await run(body, ['fsync:error=EINVAL:when=2+'])).mark('done'))
    t.is(await readFile(`${root}/a/file`, 'utf8'), 'x')
  },
)

testTraced(
  'durability: folders above the root that may not be synced are the operator’s affair',
  async (t, run, root) => {
    // The file, its folder, and the root are ours.
    const trace = await run("mark(await outcome(driver.write('/a/file', 'x')))", [
      'fsync:error=EACCES:when=4+',
    ])
    t.truthy(trace.mark('done'))
    t.truthy(trace.first('sync', root))
    const ours = await run("mark(await outcome(driver.write('/a/file', 'x')))", [
      'fsync:error=EACCES:when=3',
    ])
    t.truthy(ours.mark('UNAVAILABLE'))
  },
)

testTraced(
  'durability: what a writer could not sync it cuts off, since a second sync would not tell',
  async (t, run, root) => {
    const trace = await run(
      `
      mkdirSync(root + '/a', { recursive: true })
      const writer = await driver.create('/a/data')
      await writer.write(Buffer.from('kept'))
      await writer.sync()
      await writer.write(Buffer.from('doubtful'))
      // One name was synced meanwhile, and all the folders above it.
      mark(await outcome(writer.sync()) + writer.size)
      await writer.write(Buffer.from(' more'))
      await writer.sync()
      mark('size' + writer.size)`,
      [`fsync:error=EIO:when=${syncsOfFirst(root)}`],
    )
    t.truthy(trace.mark('EIO4'))
    t.truthy(trace.mark('size9'))
    t.is(await readFile(`${root}/a/data`, 'utf8'), 'kept more')
  },
)

/** Which sync is the second of a file in `<root>/a`: after that of the file and all folders above it. */
function syncsOfFirst(root: string): number {
  return `${root}/a/data`.split('/').length + 1
}

import { execFile, execFileSync, spawn } from 'node:child_process'
import {
  chmod,
  mkdir,
  mkdtempDisposable,
  readdir,
  readFile,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { promisify } from 'node:util'
import test, { type ExecutionContext } from 'ava'
import fc from 'fast-check'
import { addUser, listUsers, removeUser, verifyUser } from '../../../src/cli/htpasswd.ts'
import { StartupError } from '../../../src/lib/startup-error.ts'

const sha = '{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=' // secret

async function openFile(content?: string | Buffer) {
  const dir = await mkdtempDisposable(join(tmpdir(), 'tidegate-htpasswd-'))
  const path = join(dir.path, 'htpasswd')
  if (content !== undefined) await writeFile(path, content)
  return {
    path,
    dir: dir.path,
    read: () => readFile(path, 'latin1'),
    [Symbol.asyncDispose]: () => dir[Symbol.asyncDispose](),
  }
}

const badNames: [name: string, why: RegExp][] = [
  ['', /empty/],
  ['a:b', /colon/],
  ['a\nb', /control/],
  ['#alice', /comment/],
  [' alice', /blank/],
  ['x'.repeat(257), /longer than 256/],
]
for (const [name, why] of badNames) {
  test(`add refuses the name ${JSON.stringify(name).slice(0, 12)} and writes nothing`, async (t) => {
    await using file = await openFile()
    const error = await t.throwsAsync(addUser(file.path, name, 'secret'), {
      instanceOf: StartupError,
      message: why,
    })
    t.false(error.message.includes('\n'))
    t.deepEqual(await readdir(file.dir), [])
  })
}

const badPasswords: [password: string, why: RegExp][] = [
  ['', /empty/],
  ['x'.repeat(73), /73 bytes.*first 72/],
  ['é'.repeat(37), /74 bytes/],
  ['a\0b', /control/],
]
for (const [password, why] of badPasswords) {
  test(`add refuses a password that ${why.source} and does not repeat it`, async (t) => {
    await using file = await openFile(`bob:${sha}\n`)
    const error = await t.throwsAsync(addUser(file.path, 'alice', password), {
      instanceOf: StartupError,
      message: why,
    })
    t.true(password === '' || !error.message.includes(password))
    t.is(await file.read(), `bob:${sha}\n`)
  })
}

test('files that cannot be used are one clear line each', async (t) => {
  await using file = await openFile()
  const dangling = join(file.dir, 'dangling')
  await symlink(join(file.dir, 'nowhere', 'file'), dangling)
  const utf16 = join(file.dir, 'utf16')
  await writeFile(utf16, Buffer.from('\ufeffbob:x', 'utf16le'))
  const cases: [run: () => Promise<unknown>, why: RegExp][] = [
    [() => listUsers(file.path), /no such file.*tidegate htpasswd add/],
    [() => removeUser(file.path, 'alice'), /no such file/],
    [() => verifyUser(file.path, 'alice', 'secret'), /no such file/],
    [() => addUser(join(file.dir, 'missing', 'file'), 'alice', 'secret'), /folder does not exist/],
    [() => addUser(file.dir, 'alice', 'secret'), /is a folder/],
    [() => addUser(dangling, 'alice', 'secret'), /link to nowhere/],
    [() => addUser(utf16, 'alice', 'secret'), /UTF-16/],
  ]
  for (const [run, message] of cases) {
    const error = await t.throwsAsync(run(), { instanceOf: StartupError, message })
    t.false(error.message.includes('\n'))
  }
  t.deepEqual((await readdir(file.dir)).sort(), ['dangling', 'utf16'], 'no temporary file is left')
})

test('a new file is for its owner only, and an existing one keeps its mode', async (t) => {
  await using file = await openFile()
  t.deepEqual(await addUser(file.path, 'alice', 'secret'), { replaced: false })
  t.is((await stat(file.path)).mode & 0o777, 0o600)
  await chmod(file.path, 0o640)
  t.deepEqual(await addUser(file.path, 'alice', 'other'), { replaced: true })
  t.is((await stat(file.path)).mode & 0o777, 0o640)
  t.regex(await file.read(), /^alice:\$2y\$10\$[^\n]{53}\n$/)
  t.deepEqual(await readdir(file.dir), ['htpasswd'])
})

test('add replaces one line and keeps every other byte, add of another appends', async (t) => {
  const before = `\ufeff# users\r\n\r\n  bob:${sha}  \r\nalice:old\r\nbroken`
  await using file = await openFile(Buffer.concat([Buffer.from(before), Buffer.from([0xff, 0xfe])]))
  await addUser(file.path, 'alice', 'secret')
  await addUser(file.path, 'carol', 'secret')
  const [head, carol, ...rest] = (await file.read()).split(/\r\n(?=carol)|(?<=carol.{61})\r\n/)
  const expected = `${Buffer.from(before).toString('latin1')}\xff\xfe`
  t.is(head?.replace(/alice:\$2y\$10\$[./A-Za-z0-9]{53}/, 'alice:old'), expected)
  t.regex(carol ?? '', /^carol:\$2y\$10\$/)
  t.deepEqual(rest, [''])
})

test('add drops later lines of its user, which never counted, and no other byte', async (t) => {
  await using file = await openFile(`alice:x\r\n#alice:x\n alice:y\nbob:${sha}\nalice:z`)
  await addUser(file.path, 'alice', 'secret')
  const after = (await file.read()).replace(/alice:\$2y\$10\$[./A-Za-z0-9]{53}/, 'alice:new')
  t.is(after, `alice:new\r\n#alice:x\nbob:${sha}\n`)
})

test('add writes through a symbolic link and leaves the link', async (t) => {
  await using file = await openFile()
  await mkdir(join(file.dir, 'data'))
  await writeFile(join(file.dir, 'data', 'users'), '')
  await symlink(join('data', 'users'), file.path)
  await addUser(file.path, 'alice', 'secret')
  t.deepEqual(await readdir(join(file.dir, 'data')), ['users'])
  t.regex(await readFile(join(file.dir, 'data', 'users'), 'utf8'), /^alice:/)
})

test('remove takes every line of the user and no other byte', async (t) => {
  await using file = await openFile(`# a\nalice:${sha}\r\nbob:${sha}\nalice:x\n#alice:${sha}`)
  t.deepEqual(await removeUser(file.path, 'alice'), { removed: true, usersLeft: 1 })
  t.is(await file.read(), `# a\nbob:${sha}\n#alice:${sha}`)
  t.deepEqual(await removeUser(file.path, 'alice'), { removed: false, usersLeft: 1 })
})

test('adding and then removing a user gives back the bytes of any file that ends its lines', async (t) => {
  const line = fc.oneof(
    fc.constantFrom('', '# comment', `bob:${sha}`, ' carol:x ', 'junk'),
    fc.string({ unit: 'binary', maxLength: 8 }).map((junk) => junk.replaceAll(/[\n:]/g, '')),
  )
  const lines = fc.array(fc.tuple(line, fc.constantFrom('\n', '\r\n')), { maxLength: 6 })
  await fc.assert(
    fc.asyncProperty(lines, async (parts) => {
      const before = Buffer.from(parts.flat().join(''))
      if (/^(fffe|feff)/.test(before.toString('hex', 0, 2))) return
      await using file = await openFile(before)
      await addUser(file.path, 'alice', 'secret')
      await removeUser(file.path, 'alice')
      t.true((await readFile(file.path)).equals(before))
    }),
    { numRuns: 15 },
  )
})

test('verify tells right, wrong, absent and unusable apart', async (t) => {
  await using file = await openFile(`alice:${sha}\nbob:plain\n`)
  t.deepEqual(await verifyUser(file.path, 'alice', 'secret'), { kind: 'right' })
  t.deepEqual(await verifyUser(file.path, 'alice', 'Secret'), { kind: 'wrong' })
  t.deepEqual(await verifyUser(file.path, 'alice', ''), { kind: 'wrong' })
  t.deepEqual(await verifyUser(file.path, 'carol', 'secret'), { kind: 'absent' })
  t.like(await verifyUser(file.path, 'bob', 'plain'), { kind: 'unusable' })
})

test('list gives users and unusable lines in the order of the file', async (t) => {
  await using file = await openFile(`bob:plain\nalice:$apr1$r31.....$DSxSjH675VTjvc8yL6H8v/\njunk`)
  const users = await listUsers(file.path)
  t.like(users[0], { line: 1, user: 'bob' })
  t.deepEqual(users[1], { line: 2, user: 'alice', scheme: 'apr1', cost: 1 })
  t.like(users[2], { line: 3, user: undefined })
  t.false(JSON.stringify(users).includes('plain"'))
})

test('htpasswd itself accepts what we write, and keeps accepting its own lines', async (t) => {
  if (!isPresent('htpasswd')) return skip(t, 'htpasswd')
  await using file = await openFile()
  execFileSync('htpasswd', ['-bc', file.path, 'bob', 'bobs'], { stdio: 'ignore' })
  await addUser(file.path, 'alice', 'pässwörd:☃')
  for (const [user, password] of [
    ['alice', 'pässwörd:☃'],
    ['bob', 'bobs'],
  ] as const) {
    const check = promisify(execFile)('htpasswd', ['-vb', file.path, user, password])
    await t.notThrowsAsync(check)
    t.deepEqual(await verifyUser(file.path, user, password), { kind: 'right' })
  }
  await t.throwsAsync(promisify(execFile)('htpasswd', ['-vb', file.path, 'alice', 'wrong']))
})

const program = `
  import { Command } from 'commander'
  import { registerHtpasswdCommands } from '${new URL('../../../src/cli/htpasswd.ts', import.meta.url)}'
  const program = new Command('tidegate')
  registerHtpasswdCommands(program)
  await program.parseAsync(process.argv.slice(1), { from: 'user' })`

async function run(args: string[], input = '') {
  const child = spawn(process.execPath, ['--input-type=module', '-e', program, '--', ...args])
  child.stdin.end(input)
  const exit = new Promise((resolve) => child.once('exit', resolve))
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)])
  return { code: await exit, stdout, stderr }
}

test('the commands add, verify, list and remove a user, and exit with 1 on a no', async (t) => {
  await using file = await openFile()
  const { path } = file
  t.like(await run(['htpasswd', 'add', path, 'alice'], 'secret\n'), {
    code: 0,
    stdout: `user alice added to ${path}\n`,
    stderr: '',
  })
  t.like(await run(['htpasswd', 'verify', path, 'alice'], 'secret'), { code: 0, stderr: '' })
  t.like(await run(['htpasswd', 'verify', path, 'alice'], 'wrong'), { code: 1, stdout: '' })
  t.like(await run(['htpasswd', 'list', path]), { code: 0, stdout: 'alice\tbcrypt, cost 10\n' })
  await addUser(path, 'bob', 'secret')
  t.like(await run(['htpasswd', 'remove', path, 'alice']), { code: 0, stderr: '' })
  t.like(await run(['htpasswd', 'remove', path, 'alice']), { code: 1, stdout: '' })
  const last = await run(['htpasswd', 'remove', path, 'bob'])
  t.like(last, { code: 0, stdout: `user bob removed from ${path}\n` })
  t.regex(last.stderr, /^warning: nobody can log in .*\n$/)
  t.like(await run(['htpasswd', 'list', path]), { code: 0, stdout: `no users in ${path}\n` })
})

test('a list whose reader has left ends quietly', async (t) => {
  const lines = Array.from({ length: 5000 }, (_, at) => `user${at}:${sha}`)
  await using file = await openFile(lines.join('\n'))
  const args = ['--input-type=module', '-e', program, '--', 'htpasswd', 'list', file.path]
  const child = spawn(process.execPath, args)
  child.stdout.destroy()
  const exit = new Promise((resolve) => child.once('exit', resolve))
  t.is(await text(child.stderr), '')
  t.is(await exit, 0)
})

/** Runs `htpasswd add FILE alice` on a terminal and answers each question with these keys. */
async function addOnTerminal(path: string, answers: Readonly<Record<string, string>>) {
  const command = `exec "$NODE" --input-type=module -e "$PROGRAM" -- htpasswd add "$FILE" alice`
  const terminal = spawn('script', ['-qec', command, '/dev/null'], {
    env: { ...process.env, NODE: process.execPath, PROGRAM: program, FILE: path },
  })
  const exit = new Promise((resolve) => terminal.once('exit', resolve))
  let shown = ''
  for await (const chunk of terminal.stdout.setEncoding('utf8')) {
    const before = shown
    shown += chunk
    for (const [question, keys] of Object.entries(answers)) {
      if (shown.includes(question) && !before.includes(question)) terminal.stdin.write(keys)
    }
  }
  return { shown, code: await exit }
}

test('on a real terminal the password is asked for twice and never shown', async (t) => {
  if (!isPresent('script')) return skip(t, 'script')
  await using file = await openFile()
  const answers = { 'Password: ': 'hunter2\r', 'Password again: ': 'hunter2\r' }
  const { shown } = await addOnTerminal(file.path, answers)
  t.false(shown.includes('hunter2'))
  t.deepEqual(await verifyUser(file.path, 'alice', 'hunter2'), { kind: 'right' })
})

test('Ctrl-C at either question exits with 130, without a word and without a change', async (t) => {
  if (!isPresent('script')) return skip(t, 'script')
  await using file = await openFile(`alice:${sha}\n`)
  for (const answers of [
    { 'Password: ': 'hun\u0003' },
    { 'Password: ': 'hunter2\r', 'Password again: ': '\u0003' },
  ]) {
    const { shown, code } = await addOnTerminal(file.path, answers)
    t.is(code, 130)
    t.is(shown.replaceAll('\r', ''), `${Object.keys(answers).join('\n')}\n`)
  }
  t.is(await file.read(), `alice:${sha}\n`)
})

function isPresent(command: string): boolean {
  try {
    execFileSync('sh', ['-c', `command -v ${command}`], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

function skip(t: ExecutionContext, peer: string): void {
  t.log(`skipped: ${peer} is not installed`)
  t.pass()
}

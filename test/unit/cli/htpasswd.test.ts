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
import { PassThrough, Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { promisify } from 'node:util'
import test, { type ExecutionContext } from 'ava'
import fc from 'fast-check'
import {
  addUser,
  listUsers,
  readPassword,
  removeUser,
  verifyUser,
} from '../../../src/cli/htpasswd.ts'
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
    [() => addUser(dangling, 'alice', 'secret'), /points nowhere/],
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
  t.deepEqual(await removeUser(file.path, 'alice'), { removed: true })
  t.is(await file.read(), `# a\nbob:${sha}\n#alice:${sha}`)
  t.deepEqual(await removeUser(file.path, 'alice'), { removed: false })
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

const notTyped = { output: new PassThrough(), confirm: true }

test('standard input gives its first line, whole except for the line end', async (t) => {
  for (const [input, password] of [
    ['secret', 'secret'],
    ['secret\n', 'secret'],
    ['secret\r\n', 'secret'],
    [' se cret \nmore\n', ' se cret '],
    ['', ''],
  ] as const) {
    const source = Readable.from([Buffer.from(input.slice(0, 3)), Buffer.from(input.slice(3))])
    t.is(await readPassword({ ...notTyped, input: source }), password)
  }
  const latin1 = Readable.from([Buffer.from([0xfc, 0x0a])])
  await t.throwsAsync(readPassword({ ...notTyped, input: latin1 }), { message: /not UTF-8/ })
})

/** Types into a terminal-like stream; returns what was answered and shown. */
async function type(keys: string, confirm: boolean) {
  const input = Object.assign(new PassThrough(), { isTTY: true, setRawMode: () => input })
  const output = new PassThrough()
  const answer = readPassword({ input, output, confirm })
  input.end(keys)
  const result = await answer.catch((error: Error) => error)
  return { result, shown: await text(output.end()) }
}

test('a terminal is asked without an echo, twice when it must be confirmed', async (t) => {
  t.deepEqual(await type('secrex\u007ft\r', false), { result: 'secret', shown: 'Password: \n' })
  t.deepEqual(await type('secret\rsecret\r', true), {
    result: 'secret',
    shown: 'Password: \nPassword again: \n',
  })
})

test('different answers, Ctrl-C and an end without an answer give no password', async (t) => {
  t.like((await type('secret\rsecert\r', true)).result, {
    message: 'the two passwords differ; nothing was changed',
  })
  t.like((await type('sec\u0003', false)).result, { message: 'no password was given' })
  t.like((await type('', false)).result, { message: 'no password was given' })
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
  t.like(await run(['htpasswd', 'remove', path, 'alice']), { code: 0 })
  t.like(await run(['htpasswd', 'remove', path, 'alice']), { code: 1, stdout: '' })
  t.like(await run(['htpasswd', 'list', path]), { code: 0, stdout: `no users in ${path}\n` })
})

test('on a real terminal the password is asked for twice and never shown', async (t) => {
  if (!isPresent('script')) return skip(t, 'script')
  await using file = await openFile()
  const command = `exec "$NODE" --input-type=module -e "$PROGRAM" -- htpasswd add "$FILE" alice`
  const terminal = spawn('script', ['-qec', command, '/dev/null'], {
    env: { ...process.env, NODE: process.execPath, PROGRAM: program, FILE: file.path },
  })
  let shown = ''
  for await (const chunk of terminal.stdout.setEncoding('utf8')) {
    const before = shown
    shown += chunk
    for (const question of ['Password: ', 'Password again: ']) {
      if (shown.includes(question) && !before.includes(question)) terminal.stdin.write('hunter2\r')
    }
  }
  t.false(shown.includes('hunter2'))
  t.deepEqual(await verifyUser(file.path, 'alice', 'hunter2'), { kind: 'right' })
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

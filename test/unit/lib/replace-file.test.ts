import {
  chmod,
  chown,
  lstat,
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
import test from 'ava'
import { replaceFile } from '../../../src/lib/replace-file.ts'
import { StartupError } from '../../../src/lib/startup-error.ts'

const temporary = () => mkdtempDisposable(join(tmpdir(), 'tidegate-replace-'))
const modeOf = async (path: string) => ((await stat(path)).mode & 0o7777).toString(8)

test('replace file: a path that cannot be written is one line, and nothing is left', async (t) => {
  await using directory = await temporary()
  const folder = join(directory.path, 'folder')
  await mkdir(folder)
  const link = join(directory.path, 'link')
  await symlink('nowhere', link)
  for (const [path, expected] of [
    [folder, /folder is a folder; name a file in it$/],
    [join(directory.path, 'none', 'file'), /file cannot be written: its folder does not exist/],
    [link, /link is a symbolic link to nowhere; create its target or remove it$/],
  ] as const) {
    const error = await t.throwsAsync(replaceFile(path, 'x'), { instanceOf: StartupError })
    t.true(error?.message.startsWith(path))
    t.regex(error?.message ?? '', expected)
  }
  t.deepEqual((await readdir(directory.path)).sort(), ['folder', 'link'])
})

test('replace file: a new file is its owner’s only, whatever the umask, unless told', async (t) => {
  await using directory = await temporary()
  const path = join(directory.path, 'new')
  await replaceFile(path, 'secret')
  t.is(await modeOf(path), '600')
  await replaceFile(path, 'public', { mode: 0o666 })
  t.is(await modeOf(path), '666')
  t.is(await readFile(path, 'utf8'), 'public')
})

test('replace file: mode and owner of the file before stay, and it is another inode', async (t) => {
  await using directory = await temporary()
  const path = join(directory.path, 'old')
  await writeFile(path, 'before')
  const isRoot = process.getuid?.() === 0
  await chmod(path, 0o640)
  if (isRoot) await chown(path, 1234, 1235)
  const before = await stat(path)
  await replaceFile(path, Buffer.from('after'))
  const after = await stat(path)
  t.deepEqual([after.mode, after.uid, after.gid], [before.mode, before.uid, before.gid])
  t.not(after.ino, before.ino)
  t.is(await readFile(path, 'utf8'), 'after')
})

test('replace file: a symbolic link stays one, its target is replaced', async (t) => {
  await using directory = await temporary()
  const link = join(directory.path, 'link')
  await writeFile(join(directory.path, 'target'), 'before')
  await symlink('target', link)
  await replaceFile(link, 'after')
  t.true((await lstat(link)).isSymbolicLink())
  t.is(await readFile(join(directory.path, 'target'), 'utf8'), 'after')
})

test('replace file: of many writers at once one wins whole, and no temporary file stays', async (t) => {
  await using directory = await temporary()
  const path = join(directory.path, 'file')
  const texts = Array.from({ length: 8 }, (_, index) => String(index).repeat(50_000))
  await Promise.all(texts.map((text) => replaceFile(path, text)))
  t.true(texts.includes(await readFile(path, 'utf8')))
  t.deepEqual(await readdir(directory.path), ['file'])
})

import { execFile } from 'node:child_process'
import { mkdir, mkdtempDisposable, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import test from 'ava'
import { createLook } from '../../../src/storage/filesystem-looks.ts'

test('looks: a change is seen by the very next look, whoever made it and however often it was looked at', async (t) => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'tidegate-'))
  const path = join(folder.path, 'link')
  const look = createLook()
  t.is(await look(path), undefined)
  await writeFile(path, 'a')
  const first = await look(path)
  t.is(first?.size, 1n)
  t.is((await look(path))?.ino, first?.ino)
  await promisify(execFile)('sh', ['-c', 'printf longer > "$0"', path])
  t.is((await look(path))?.size, 6n)
  await writeFile(`${path}.new`, 'xyz')
  await rename(`${path}.new`, path)
  const replaced = await look(path)
  t.is(replaced?.size, 3n)
  t.not(replaced?.ino, first?.ino)
  await rm(path)
  t.is(await look(path), undefined)
  t.is(await look(path), undefined)
  await mkdir(path)
  t.true((await look(path))?.isDirectory())
})

test('looks: below what has become a file there is nothing, and no error', async (t) => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'tidegate-'))
  const path = join(folder.path, 'tag', 'link')
  await mkdir(join(folder.path, 'tag'))
  await writeFile(path, 'a')
  const look = createLook()
  await look(path)
  t.is((await look(path))?.size, 1n)
  await rm(join(folder.path, 'tag'), { recursive: true })
  await writeFile(join(folder.path, 'tag'), '')
  t.is(await look(path), undefined)
})

test('looks: at what leads to itself there is nothing, also where there was something', async (t) => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'tidegate-'))
  const path = join(folder.path, 'link')
  await writeFile(path, 'a')
  const look = createLook()
  await look(path)
  t.is((await look(path))?.size, 1n)
  await rm(path)
  await symlink(path, path)
  t.is(await look(path), undefined)
  t.is(await look(path), undefined)
})

test('looks: what was looked at a moment ago is looked at on the spot, unless it is on another device now', async (t) => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'tidegate-'))
  const path = join(folder.path, 'link')
  await writeFile(`${path}.here`, 'a')
  await symlink(`${path}.here`, path)
  const look = createLook()
  const isOnTheSpot = (): boolean => !(look(path) instanceof Promise)
  t.false(isOnTheSpot())
  await look(path)
  t.true(isOnTheSpot())
  await rm(path)
  await symlink('/proc/self/status', path)
  t.true(isOnTheSpot(), 'nobody can know yet')
  t.false(isOnTheSpot())
  await look(path)
  t.false(isOnTheSpot(), 'no disk of this machine')
})

test('looks: what is gone on the spot is looked for in a thread from then on', async (t) => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'tidegate-'))
  const path = join(folder.path, 'link')
  await writeFile(path, 'a')
  const look = createLook()
  await look(path)
  t.false(look(path) instanceof Promise)
  await rm(path)
  t.is(look(path), undefined)
  t.true(look(path) instanceof Promise)
})

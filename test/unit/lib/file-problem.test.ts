import { mkdir, mkdtempDisposable, readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { describeReadProblem, describeWriteProblem } from '../../../src/lib/file-problem.ts'

const withCode = (code: string) => Object.assign(new Error('x'), { code })

test('file problems: what reading and making files really throws has words', async (t) => {
  await using directory = await mkdtempDisposable(join(tmpdir(), 'tidegate-'))
  const file = join(directory.path, 'file')
  await writeFile(file, '')
  const read = (path: string) => readFile(path).then(() => '', describeReadProblem)
  t.regex(await read(directory.path), /^is a folder, not a file/)
  t.regex(await read(join(directory.path, 'none')), /^does not exist; check the path/)
  t.regex(await read(join(file, 'below')), /^does not exist; check the path/)
  const make = (path: string) => mkdir(path).then(() => '', describeWriteProblem)
  t.regex(await make(file), /^cannot be written: a file is in the way/)
  t.regex(await make(join(file, 'below')), /^cannot be written: a file is in the way/)
  t.regex(await make(join(directory.path, 'a', 'b')), /its folder does not exist; create it/)
})

test('file problems: permissions name the user, whoever that is', (t) => {
  const uid = new RegExp(`by the user Tidegate runs as \\(uid ${process.getuid?.()}\\)`)
  for (const code of ['EACCES', 'EPERM']) {
    t.regex(describeReadProblem(withCode(code)), uid)
    t.regex(describeWriteProblem(withCode(code)), uid)
  }
})

test('file problems: any other failure is named by its code or message', (t) => {
  t.is(describeReadProblem(withCode('EIO')), 'cannot be read (EIO)')
  t.regex(describeWriteProblem(withCode('EIO')), /^cannot be written \(EIO\); check/)
  t.is(describeReadProblem(new Error('odd')), 'cannot be read (odd)')
  t.is(describeReadProblem('odd'), 'cannot be read (odd)')
})

import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import test from 'ava'

const script = `
  import { affordableConnections } from './src/server/file-limit.ts'
  const log = { warn: (fields) => console.log('warned', fields.openFiles), debug() {} }
  console.log(await affordableConnections(10_000, log))
`

const cases = test.macro({
  title: (_, limit: number) => `file limit: with ${limit} open files, as many connections as fit`,
  async exec(t, limit: number, expected: string) {
    const run = `ulimit -n ${limit} && exec ${process.execPath} --input-type=module-typescript -e "$0"`
    const { stdout } = await promisify(execFile)('bash', ['-c', run, script])
    t.is(stdout, expected)
  },
})
test(cases, 300, 'warned 300\n100\n')
test(cases, 4096, '1998\n')

import { PassThrough, Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import test from 'ava'
import { readPassword } from '../../../src/cli/password-input.ts'

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

test('different answers and an end without an answer are no password', async (t) => {
  t.like((await type('secret\rsecert\r', true)).result, {
    message: 'the two passwords differ; nothing was changed',
  })
  t.like((await type('', false)).result, { message: 'no password was given' })
})

test('Ctrl-C gives no password, at the first question or the second', async (t) => {
  t.is((await type('sec\u0003', false)).result, undefined)
  t.is((await type('secret\rsec\u0003', true)).result, undefined)
})

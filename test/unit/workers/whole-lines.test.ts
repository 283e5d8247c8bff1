import test from 'ava'
import * as fc from 'fast-check'
import { createWholeLines } from '../../../src/workers/whole-lines.ts'

test('whole lines: a line that never ends is passed on in pieces, not kept', (t) => {
  const written: string[] = []
  const lines = createWholeLines((text) => written.push(text))
  for (let left = 3; left > 0; left -= 1) lines.push(Buffer.alloc(600 * 1024, 'x'))
  t.is(written.length, 1)
  t.is(written[0]?.length, 1200 * 1024 + 1)
})

test('whole lines: the rest at the end gets an end', (t) => {
  const written: string[] = []
  const lines = createWholeLines((text) => written.push(text))
  lines.push(Buffer.from('one\ntw'))
  lines.end()
  t.deepEqual(written, ['one\n', 'tw\n'])
})

test('whole lines: wherever a text is cut, whole lines come out and nothing is lost', (t) => {
  const texts = fc.array(fc.string({ unit: 'grapheme' }).filter((line) => !line.includes('\n')))
  const cut = fc.array(fc.nat({ max: 20 }))
  void fc.assert(
    fc.property(texts, cut, (parts, lengths) => {
      const bytes = Buffer.from(parts.map((line) => `${line}\n`).join(''))
      const written: string[] = []
      const lines = createWholeLines((text) => written.push(text))
      let at = 0
      for (const length of lengths) {
        lines.push(bytes.subarray(at, at + length))
        at += length
      }
      lines.push(bytes.subarray(at))
      lines.end()
      t.true(written.every((text) => text.endsWith('\n')))
      t.is(written.join(''), bytes.toString())
    }),
  )
})

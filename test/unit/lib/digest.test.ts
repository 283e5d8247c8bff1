import test from 'ava'
import fc from 'fast-check'
import { isDigest, parseDigest } from '../../../src/lib/digest.ts'
import { throwsCode } from '../relay/support.ts'

const hex64 = '0123456789abcdef'.repeat(4)

for (const [index, text] of [
  ...[
    '',
    ':',
    'sha256',
    'sha256:',
    `:${hex64}`,
    hex64,
    `sha256:${hex64.slice(1)}`,
    `sha256:${hex64}0`,
  ],
  ...[`sha256:${hex64.toUpperCase()}`, `SHA256:${hex64}`, `sha512:${hex64}`, ` sha256:${hex64}`],
  ...[`sha256:${hex64}\n`, `sha256:${hex64} `, `sha256:${'g'.repeat(64)}`, `sha256::${hex64}`],
  ...[
    `sha256:${hex64}:`,
    `sha256/${hex64}`,
    '+a:b',
    'a+:b',
    'a++b:c',
    'a:b/c',
    'a:b%2f',
    'a:é',
    'a:\0',
  ],
  ...[`a:${'b'.repeat(255)}`, 'a b:c', 'a:b:c', '../a:b'],
].entries()) {
  test(`digest: no. ${index}, ${JSON.stringify(text.slice(0, 20))}, is refused`, (t) => {
    t.false(isDigest(text))
    throwsCode(t, () => parseDigest(text), 'DIGEST_INVALID')
  })
}

for (const text of [
  ...[
    `sha256:${hex64}`,
    `sha512:${hex64}${hex64}`,
    'multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9Kv46HmX4Gx8',
  ],
  ...['sha256+b64u:LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564', 'a.b_c-d+e:F=', 'md5:x'],
]) {
  test(`digest: ${text.slice(0, 30)} is one`, (t) => {
    t.true(isDigest(text))
    t.is<string, string>(parseDigest(text), text)
  })
}

test('digest: an error names what was sent, within bounds', (t) => {
  const error = t.throws(() => parseDigest('x'.repeat(10_000)))
  t.true(JSON.stringify(error).length < 1000)
})

test('digest: what is accepted can go into a path as it is', (t) => {
  const text = fc.oneof(fc.string(), fc.stringMatching(/^[a-z0-9+._:=A-Z/%-]{1,80}$/))
  fc.assert(
    fc.property(text, (value) => {
      if (isDigest(value)) t.regex(value, /^[A-Za-z0-9+._-]+:[A-Za-z0-9=_-]+$/)
    }),
    { numRuns: 2000 },
  )
})

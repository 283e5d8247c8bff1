import test from 'ava'
import fc from 'fast-check'
import { isUploadId, parseRepoName, parseTag } from '../../../src/lib/names.ts'
import { throwsCode } from '../relay/support.ts'

for (const text of [
  ...[
    '',
    '/',
    'a/',
    '/a',
    'a//b',
    'A',
    'aB',
    '.a',
    'a.',
    'a..b',
    '_a',
    'a_',
    'a___b',
    '-a',
    'a-',
    'a._b',
  ],
  ...[
    'a b',
    'a:b',
    'a@b',
    'é',
    'a\n',
    '\na',
    'a\0',
    'a%2fb',
    '..',
    'a/../b',
    'a/./b',
    'a\\b',
    'a/_b',
  ],
  'a'.repeat(256),
]) {
  test(`names: ${JSON.stringify(text.slice(0, 20))} of ${text.length} is no repository`, (t) => {
    throwsCode(t, () => parseRepoName(text), 'NAME_INVALID')
  })
}

for (const text of [
  ...[
    'a',
    '0',
    'library/alpine',
    'a.b',
    'a_b',
    'a__b',
    'a-b',
    'a---b',
    'a/b/c/d/e',
    'a1.b2_c3--d4',
  ],
  ...['blobs/uploads', 'tags/list', 'a'.repeat(255)],
]) {
  test(`names: ${text.slice(0, 20)} of ${text.length} is a repository`, (t) => {
    t.is<string, string>(parseRepoName(text), text)
  })
}

for (const text of [
  '',
  '.a',
  '-a',
  'a b',
  'a:b',
  'a/b',
  'a+b',
  'é',
  'a\n',
  'a\0',
  'a'.repeat(129),
]) {
  test(`names: ${JSON.stringify(text.slice(0, 20))} of ${text.length} is no tag`, (t) => {
    throwsCode(t, () => parseTag(text), 'TAG_INVALID')
  })
}

for (const text of [
  'latest',
  '_',
  '0',
  'V1.2.3-rc.1_x',
  '_catalog',
  'a'.repeat(128),
  `sha256-${'a'.repeat(64)}`,
]) {
  test(`names: ${text.slice(0, 20)} of ${text.length} is a tag`, (t) => {
    t.is<string, string>(parseTag(text), text)
  })
}

test('names: upload ids are what registries make, and nothing that leads out of a folder', (t) => {
  for (const text of ['0a1b-2c', 'A_b.c=', 'a'.repeat(256)]) t.true(isUploadId(text), text)
  for (const text of ['', 'a/b', 'a b', 'a%', 'a+', 'é', 'a\n', 'a'.repeat(257)])
    t.false(isUploadId(text), text)
})

test('names: an odd name takes no longer to refuse than its length is worth', (t) => {
  const started = process.threadCpuUsage()
  for (const text of [
    `${'a-'.repeat(127)}!`,
    `${'a__'.repeat(84)}!`,
    `${'a/'.repeat(127)}!`,
    `${'-'.repeat(254)}!`,
  ]) {
    throwsCode(t, () => parseRepoName(text), 'NAME_INVALID')
  }
  const { user } = process.threadCpuUsage(started)
  t.true(user < 1_000_000, `${user} µs of CPU`)
})

test('names: whatever is accepted is a relative path without a turn', (t) => {
  fc.assert(
    fc.property(fc.stringMatching(/^[a-z0-9._/-]{1,30}$/), (text) => {
      try {
        parseRepoName(text)
      } catch {
        return
      }
      t.notRegex(text, /\.\.|\/\/|^\/|\/$|(?:^|\/)[._-]|[._-](?:\/|$)/)
    }),
    { numRuns: 2000 },
  )
})

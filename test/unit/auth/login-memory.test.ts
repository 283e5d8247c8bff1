import test from 'ava'
import { createLoginMemory } from '../../../src/auth/login-memory.ts'

const login = { principal: { kind: 'user', name: 'alice' }, hash: 'stored' } as const

test('another header is another login, however alike', (t) => {
  const memory = createLoginMemory()
  memory.remember('Basic YTpi', login)
  for (const header of ['', 'Basic', 'Basic YTp', 'Basic YTpiYg==', 'basic YTpi', 'Basic  YTpi']) {
    t.is(memory.find(header), undefined, header)
  }
  t.is(memory.find('Basic YTpi'), login)
})

test('a login is remembered for a minute, however often it is asked for', (t) => {
  let now = 0
  const memory = createLoginMemory({ now: () => now })
  memory.remember('Basic YTpi', login)
  now = 59_999
  t.is(memory.find('Basic YTpi'), login)
  now = 60_000
  t.is(memory.find('Basic YTpi'), undefined)
})

test('the logins that were asked for last are kept when there are too many', (t) => {
  const memory = createLoginMemory()
  for (let at = 0; at <= 10_000; at++) {
    memory.remember(`Basic ${at}`, login)
    memory.find('Basic 0')
  }
  t.is(memory.find('Basic 0'), login)
  t.is(memory.find('Basic 1'), undefined)
})

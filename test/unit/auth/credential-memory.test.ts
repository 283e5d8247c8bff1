import test from 'ava'
import { createCredentialMemory } from '../../../src/auth/credential-memory.ts'

const claim = { user: 'alice', password: 'secret', hash: 'stored' }
const right = async (): Promise<boolean> => true
const wrong = async (): Promise<boolean> => false

test('a wrong credential is not remembered in either direction', async (t) => {
  const memory = createCredentialMemory()
  t.false(await memory.check(claim, wrong))
  t.true(await memory.check(claim, right))
})

test('a verification that throws is not remembered and leaves nothing in flight', async (t) => {
  const memory = createCredentialMemory()
  await t.throwsAsync(memory.check(claim, () => Promise.reject(new Error('died'))))
  t.true(await memory.check(claim, right))
})

test('a right credential is remembered for four minutes after it was verified', async (t) => {
  let now = 0
  const memory = createCredentialMemory({ now: () => now })
  await memory.check(claim, right)
  now = 239_999
  t.true(await memory.check(claim, wrong))
  now = 240_000
  t.false(await memory.check(claim, wrong))
})

test('another password, user or stored hash is another claim', async (t) => {
  const memory = createCredentialMemory()
  await memory.check(claim, right)
  for (const other of [{ password: 'Secret' }, { user: 'bob' }, { hash: 'edited' }]) {
    t.false(await memory.check({ ...claim, ...other }, wrong))
  }
})

test('equal claims in flight share one verification', async (t) => {
  const memory = createCredentialMemory()
  let verifications = 0
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const verify = (): Promise<boolean> => {
    verifications++
    return promise
  }
  const checks = Array.from({ length: 20 }, () => memory.check(claim, verify))
  resolve(true)
  t.deepEqual(await Promise.all(checks), Array(20).fill(true))
  t.is(verifications, 1)
})
